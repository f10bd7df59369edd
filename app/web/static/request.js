// The rest of the form: what is asked for, and sending it so that it is made once.

import { call, idempotencyKey, Refused } from "./api.js";
import { byId, setOptions, show } from "./elements.js";
import { tickedCategories } from "./mask.js";
import { showProblem } from "./problems.js";

const POLICIES = { balanced: "balanced", strict: "strict", off: "off: take what comes" };
let models = [];

/** Fills the fields with what the service offers and what its models do by default. */
export function offerRequest(catalogue) {
  const { limits, filter, schedulers } = catalogue.capabilities;
  models = catalogue.models;
  const pairs = models.map((model) => [nameOf(model), `${model.title} (${nameOf(model)})`]);
  const usual = models.find((model) => model.default) ?? models[0];
  setOptions(byId("model"), pairs, usual && nameOf(usual));
  setOptions(byId("policy"), filter.policies.map((name) => [name, POLICIES[name] ?? name]), "balanced");
  setOptions(byId("scheduler"), [["", ""], ...schedulers.map((name) => [name, name])], "");
  byId("num-images").max = limits.images_per_generation;
  byId("seed").max = limits.seed;
  byId("steps").max = limits.num_inference_steps;
  byId("prompt").maxLength = limits.prompt_characters;
  showDefaults();
}

/** Wires the form; `made` is called with the accepted job. Returns what takes the mask. */
export function sendRequests(made) {
  const form = byId("new"), button = byId("submit"), hint = byId("submit-hint");
  let mask = null, unanswered = null;

  const ready = (busy = false) => {
    button.disabled = busy || !mask;
    button.textContent = busy ? "Sending …" : "Make pictures";
    hint.hidden = Boolean(mask);
  };
  byId("model").addEventListener("change", showDefaults);
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    if (!mask || button.disabled || !form.reportValidity()) return;
    const json = bodyOf(mask), text = JSON.stringify(json);
    // What got no answer may have arrived: sent again as it was, it keeps its key, and one job is made.
    const key = unanswered?.text === text ? unanswered.key : idempotencyKey();
    unanswered = { key, text };
    ready(true);
    show(byId("new-problem"));
    try {
      made(await call("/v1/generations", { method: "POST", json, headers: { "Idempotency-Key": key } }));
      unanswered = null;
    } catch (error) {
      const { status } = error instanceof Refused ? error.problem : {};
      if (status < 500 && status !== 409) unanswered = null; // nothing was started, and nothing is being made
      showProblem(byId("new-problem"), error, () => form.requestSubmit());
    } finally {
      ready();
    }
  });
  return (chosen) => {
    mask = chosen;
    ready();
  };
}

function bodyOf(mask) {
  const text = (id) => byId(id).value.trim() || undefined;
  const number = (id) => (byId(id).value === "" ? undefined : byId(id).valueAsNumber);
  const prompt = text("prompt");
  return { // undefined fields are not sent: the service fills them in
    mask_id: mask.id,
    prompt,
    categories: prompt ? undefined : (tickedCategories() ?? undefined),
    num_images: number("num-images"),
    seed: number("seed"),
    model: text("model"),
    num_inference_steps: number("steps"),
    guidance_scale: number("guidance"),
    controlnet_conditioning_scale: number("conditioning"),
    scheduler: text("scheduler"),
    negative_prompt: text("negative"),
    filter: byId("policy").value ? { policy: byId("policy").value } : undefined,
    custom_id: text("custom-id"),
  };
}

function showDefaults() {
  const model = models.find((one) => nameOf(one) === byId("model").value);
  if (!model) return;
  byId("steps").placeholder = model.defaults.num_inference_steps;
  byId("guidance").placeholder = model.defaults.guidance_scale;
  byId("conditioning").placeholder = model.defaults.controlnet_conditioning_scale;
  byId("negative").placeholder = model.defaults.negative_prompt || "none";
  byId("scheduler").options[0].textContent = `${model.defaults.scheduler} (the model’s)`;
  byId("prompt").placeholder = "A satellite image of …";
}

const nameOf = (model) => `${model.name}@${model.version}`;
