// A problem document in full sentences.

import { element, show } from "./elements.js";
import { Refused } from "./api.js";
import { duration } from "./words.js";

/** Shows what was refused and why in that place; `again` is what its button does, where trying again may help. */
export function showProblem(place, error, again = null) {
  if (!(error instanceof Refused)) throw error; // a mistake of this page's own belongs in the console
  show(place, problemBox(error.problem, again));
}

/** The problem: what happened, what to do, which fields, and what to name when asking for help. */
export function problemBox(problem, again = null) {
  const facts = [problem.code, problem.status && `status ${problem.status}`, problem.request_id && `request ${problem.request_id}`];
  const fields = (problem.errors ?? []).filter((field) => !problem.detail.includes(field.message));
  return element("div", { class: "problem", role: "alert" },
    element("p", { class: "problem-title" }, problem.title),
    element("p", {}, problem.detail),
    fields.length ? element("ul", {}, ...fields.map((field) => element("li", {}, element("code", {}, field.pointer), ` ${field.message}`))) : null,
    pointers(problem, fields),
    problem.retry_after_seconds === undefined ? null : element("p", {}, `Try again in ${duration(problem.retry_after_seconds)}.`),
    again && problem.retryable !== false ? element("button", { type: "button", onclick: again }, "Try again") : null,
    element("p", { class: "problem-facts" }, facts.filter(Boolean).join(" · ")),
  );
}

/** The pointers of fields whose sentence the detail has said already. */
function pointers(problem, told) {
  const rest = (problem.errors ?? []).filter((field) => !told.includes(field) && field.pointer);
  if (!rest.length) return null;
  return element("p", {}, "Field: ", ...rest.flatMap((field, at) => [at ? ", " : "", element("code", {}, field.pointer)]));
}
