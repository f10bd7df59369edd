// How the service is: /readyz for everybody, /v1/workers for those with a key.

import { call, Refused } from "./api.js";
import { byId, element, show } from "./elements.js";
import { several } from "./words.js";

const SECONDS = 10;

/** Shows it now, and again every few seconds while somebody looks. */
export function watchService() {
  refreshService();
  setInterval(() => { if (!document.hidden) refreshService(); }, SECONDS * 1000);
  document.addEventListener("visibilitychange", () => { if (!document.hidden) refreshService(); });
}

/** Asks and shows it once. */
export async function refreshService() {
  let ready;
  try {
    ready = await call("/readyz");
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    return say("bad", error.problem.code === "no_answer" ? "The service does not answer" : "Not ready", [sentence(error.problem.detail)]);
  }
  const workers = await listed();
  const makers = (workers ?? []).filter((worker) => worker.queue === "generation");
  const starting = makers.filter((worker) => worker.status === "starting").length;
  const failed = makers.filter((worker) => worker.status === "failed").length;
  const more = workers === null
    ? [sentence("With an API key the workers are listed here.")]
    : [workers.length ? element("ul", {}, ...workers.map(row)) : sentence("No worker shows a sign of life. Jobs are accepted and wait.")];
  if (ready.workers) return say("good", `Ready · ${several(ready.workers, "worker")}`, more);
  if (starting) return say("soon", "A worker is starting", more);
  if (failed) return say("bad", "The worker failed to start", more);
  return say("soon", "No worker: jobs wait", more);
}

async function listed() {
  if (!byId("key").hidden) return null; // it would be refused each time
  try {
    return (await call("/v1/workers")).items;
  } catch (error) {
    if (error instanceof Refused) return null;
    throw error;
  }
}

function row(worker) {
  const words = [worker.queue, worker.device, worker.model && `${worker.model.name}@${worker.model.version}`].filter(Boolean);
  return element("li", {},
    element("span", { class: `badge ${worker.status}` }, worker.status), ` ${worker.host} · ${words.join(" · ")}`,
    worker.job ? [" · ", element("a", { href: `#${worker.job}` }, "its job")] : null,
    worker.reason ? element("p", {}, worker.reason) : null);
}

const sentence = (text) => element("p", {}, text);

function say(state, words, more) {
  byId("service-dot").className = `dot ${state}`;
  if (byId("service-words").textContent !== words) byId("service-words").textContent = words;
  show(byId("service-more"), more);
}
