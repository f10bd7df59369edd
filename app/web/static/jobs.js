// The list of recent jobs, newest first.

import { call, Refused } from "./api.js";
import { byId, element, show } from "./elements.js";
import { kindOf, openId } from "./job.js";
import { showProblem } from "./problems.js";
import { ENDED, moment } from "./words.js";

const PAGE = 10;
let cursor = null, turn = 0;

/** Shows the newest jobs anew. */
export async function refreshJobs() {
  const mine = ++turn;
  try {
    const page = await call(`/v1/jobs?limit=${PAGE}`);
    if (mine !== turn) return; // a later refreshing shows more
    show(byId("jobs-problem"));
    const empty = element("li", { class: "empty" }, "There are none yet.");
    show(byId("jobs"), page.items.length ? page.items.map(row) : empty);
    went(page);
  } catch (error) {
    if (mine !== turn) return;
    show(byId("jobs"));
    byId("jobs-older").hidden = true;
    if (error instanceof Refused && error.problem.status === 401) show(byId("jobs-problem"), element("p", { class: "hint" }, "With an API key they are listed here."));
    else showProblem(byId("jobs-problem"), error, refreshJobs);
  }
}

/** Wires the list's buttons. */
export function listJobs() {
  byId("jobs-refresh").addEventListener("click", refreshJobs);
  byId("jobs-older").addEventListener("click", async () => {
    const mine = turn;
    try {
      const page = await call(`/v1/jobs?limit=${PAGE}&cursor=${encodeURIComponent(cursor)}`);
      if (mine !== turn) return;
      byId("jobs").append(...page.items.map(row));
      went(page);
    } catch (error) {
      showProblem(byId("jobs-problem"), error);
    }
  });
}

/** Marks the open job. */
export function markOpenJob() {
  for (const link of byId("jobs").querySelectorAll("a")) {
    if (link.hash === `#${openId()}`) link.setAttribute("aria-current", "true");
    else link.removeAttribute("aria-current");
  }
}

function went(page) {
  cursor = page.next_cursor;
  byId("jobs-older").hidden = !cursor;
  markOpenJob();
}

function row(job) {
  const { accepted, requested } = job.counts, { done, total } = job.progress;
  const samples = job.kind === "generation" || job.kind === "dataset";
  const amount = samples && ENDED.has(job.status) ? `${accepted} of ${requested}` : `${done} of ${total}`;
  return element("li", {}, element("a", { href: `#${job.id}` },
    element("span", { class: "what" }, kindOf(job), " ", element("span", { class: "hint" }, job.custom_id ?? job.request.prompt ?? job.request.name ?? "")),
    element("span", { class: "amount" }, amount),
    element("span", { class: `badge ${job.status}` }, job.status),
    element("time", { dateTime: job.created_at, class: "hint" }, moment(job.created_at))));
}
