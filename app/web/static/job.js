// One job: how it is, live while it runs, and what it made.

import { call, idempotencyKey, Refused } from "./api.js";
import { byId, element, show } from "./elements.js";
import { follow } from "./events.js";
import { showOutcome } from "./outcomes.js";
import { problemBox, showProblem } from "./problems.js";
import { duration, ENDED, moment, several } from "./words.js";

const KINDS = { generation: "Pictures", dataset: "Data set", training: "Training", export: "Export" };
const QUEUE_SECONDS = 2; // a place in the queue is no event
let current = null;

export const kindOf = (job) => KINDS[job.kind] ?? job.kind;

/** Shows what the panel says while no job is open. */
export function showNoJob() {
  close();
  byId("job").classList.remove("open");
  show(byId("job"), element("p", { class: "empty" }, "Choose a mask, or try the sample: the pictures appear here."));
}

/** Opens the job with that id and follows it. `moved` is called with it when its status changes. */
export async function openJob(jobId, moved) {
  close();
  const panel = byId("job"), stop = new AbortController(), parts = partsOf();
  current = { id: jobId, stop };
  panel.classList.add("open");
  show(panel, element("p", { class: "empty" }, "Opening the job …"));
  try {
    let job = await call(`/v1/jobs/${jobId}`, { signal: stop.signal });
    show(panel, Object.values(parts));
    drawState(parts, job, moved);
    if (!ENDED.has(job.status)) job = await live(parts, job, stop.signal, moved);
    if (stop.signal.aborted) return;
    drawState(parts, job, moved);
    await showOutcome(parts.outcome, job, stop.signal);
  } catch (error) {
    if (stop.signal.aborted) return;
    if (error.problem?.status === 401) show(panel, element("p", { class: "empty" }, "With an API key the job is shown here."));
    else showProblem(panel.contains(parts.outcome) ? parts.outcome : panel, error, () => openJob(jobId, moved));
  }
}

/** The id of the open job. */
export const openId = () => current?.id ?? null;

function close() {
  current?.stop.abort();
  current = null;
}

/** Where things go: what moves is apart, so that nothing else is drawn anew while it is read, selected or pressed. */
function partsOf() {
  return {
    head: element("div", {}),
    moving: element("div", { class: "advance" }),
    notes: element("div", {}),
    log: element("ul", { class: "warnings", "aria-label": "Log" }),
    outcome: element("div", { class: "outcome" }),
  };
}

/** Follows the job to its end; returns it as it is then. */
async function live(parts, job, signal, moved) {
  let drawing = 0;
  const draw = () => { // events come in bursts: one drawing a frame is enough
    drawing ||= requestAnimationFrame(() => { drawing = 0; drawState(parts, job, moved); });
  };
  const asking = setInterval(async () => {
    if (job.status !== "queued") return;
    try {
      const { queue } = await call(`/v1/jobs/${job.id}`, { signal });
      job.queue = queue;
      draw();
    } catch (error) {
      if (!(error instanceof Refused) && !signal.aborted) throw error; // the stream of events says what is wrong
    }
  }, QUEUE_SECONDS * 1000);
  try {
    for await (const { kind, data } of follow(job.id, signal)) {
      const before = job.status;
      job.offline = kind === "offline";
      if (data.job) job = data.job;
      else if (kind === "status") Object.assign(job, { status: data.status, phase: data.phase, counts: data.counts, starts: data.attempts });
      else if (kind === "progress") Object.assign(job, { phase: data.phase, progress: data.progress, counts: data.counts });
      else if (kind === "log" && data.level !== "info") parts.log.append(element("li", {}, data.message));
      if (job.status !== before) moved(job);
      draw();
    }
  } finally {
    clearInterval(asking);
    cancelAnimationFrame(drawing);
  }
  return signal.aborted ? job : call(`/v1/jobs/${job.id}`, { signal });
}

function drawState(parts, job, moved) {
  show(parts.moving, ENDED.has(job.status) ? null : advance(job),
    element("p", {}, countsOf(job)),
    job.offline ? element("p", { class: "hint" }, "The connection broke; trying again …") : null);
  const starts = job.starts ?? job.attempts.length; // events tell their number
  const state = `${job.status} ${starts} ${job.error?.code}`;
  if (parts.head.dataset.state === state) return;
  parts.head.dataset.state = state;
  show(parts.head,
    element("div", { class: "heading" },
      element("h2", {}, kindOf(job)),
      element("span", { class: `badge ${job.status}`, role: "status" }, job.status)),
    element("p", { class: "facts" },
      element("code", {}, job.id), ` · ${job.model.name}@${job.model.version} · ${moment(job.created_at)}`,
      job.request.seed === undefined ? null : ` · seed ${job.request.seed}`),
    job.request.prompt ? element("p", { class: "prompt" }, `“${job.request.prompt}”`) : null,
    own(job));
  show(parts.notes,
    starts > 1 ? element("p", { class: "hint" }, `Attempt ${starts}: a worker was lost before.`) : null,
    job.warnings.length ? element("ul", { class: "warnings", "aria-label": "Warnings" }, ...job.warnings.map((text) => element("li", {}, text))) : null,
    job.error ? problemBox(job.error) : null,
    actions(job, moved));
}

/** The caller's own words, where there are any. */
function own(job) {
  const pairs = [...(job.custom_id ? [["your id", job.custom_id]] : []), ...Object.entries(job.metadata ?? {})];
  if (!pairs.length) return null;
  return element("dl", { class: "own" }, ...pairs.flatMap(([name, value]) => [element("dt", {}, name), element("dd", {}, value)]));
}

function advance(job) {
  const { done, total, unit, step, steps, eta_seconds: eta } = job.progress;
  const part = unit === "images" && steps && step < steps ? step / steps : 0; // of the batch under way
  const words = [];
  if (job.status === "queued") {
    words.push(job.queue ? (job.queue.position ? `${several(job.queue.position, "job")} before it` : "next in the queue") : "queued");
  } else {
    words.push(`${done} of ${several(total, unit === "images" ? "picture" : "step")}`);
    if (steps && unit === "images") words.push(`step ${step} of ${steps}`);
    if (job.phase) words.push(job.phase);
    if (eta !== null) words.push(`about ${duration(eta)} left`);
  }
  return [
    element("progress", { max: 1, value: job.status === "queued" ? 0 : Math.min(1, (done + part) / Math.max(total, 1)), "aria-label": "Progress" }),
    element("p", {}, words.join(" · ")),
  ];
}

function countsOf(job) {
  const { requested, accepted, exhausted, failed, generated, rejected } = job.counts;
  if (job.kind === "training" || job.kind === "export") return `${job.progress.done} of ${several(job.progress.total, job.progress.unit.replace(/s$/, ""))}`;
  const words = [`${accepted} of ${several(requested, "picture")} accepted`];
  if (rejected) words.push(`${several(rejected, "try", "tries")} of ${generated} rejected by R-Filter`);
  if (exhausted) words.push(`${exhausted} given up, as every try was rejected`);
  if (failed) words.push(`${failed} failed`);
  return words.join(" · ");
}

function actions(job, moved) {
  const place = element("div", {});
  const act = (verb, then) => async (event) => {
    event.target.disabled = true;
    try {
      then(await call(`/v1/jobs/${job.id}/${verb}`, { method: "POST", headers: { "Idempotency-Key": idempotencyKey() } }));
    } catch (error) {
      event.target.disabled = false;
      showProblem(place, error);
    }
  };
  const buttons = [];
  if (!ENDED.has(job.status)) buttons.push(element("button", { type: "button", onclick: act("cancel", moved) }, "Cancel"));
  else if (job.counts.failed || job.counts.exhausted || job.status === "failed") {
    buttons.push(element("button", { type: "button", onclick: act("retry", (next) => { location.hash = next.id; }) }, "Make the missing ones again"));
  }
  return element("div", { class: "actions" }, ...buttons, place);
}
