// The page: wiring, nothing else.

import { loadCatalogue } from "./catalogue.js";
import { byId, show } from "./elements.js";
import { openId, openJob, showNoJob } from "./job.js";
import { listJobs, markOpenJob, refreshJobs } from "./jobs.js";
import { askForKeys } from "./key.js";
import { chooseMasks, offerEncodings } from "./mask.js";
import { showProblem } from "./problems.js";
import { offerRequest, sendRequests } from "./request.js";
import { refreshService, watchService } from "./service.js";

/** The open job has another status. */
function moved(job) {
  refreshJobs();
  if (job.kind === "training" && job.status === "succeeded") offer(); // its model can be chosen from now on
}

/** Opens the job that the address names. */
function openNamed() {
  const [id] = location.hash.match(/job_[0-9a-z]{26}$/) ?? [null];
  if (id) {
    openJob(id, moved);
    if (byId("key").hidden) showPanel();
  } else if (location.hash.length < 2 || !openId()) showNoJob(); // any other names a place on this page
  markOpenJob();
}

/** Offers in the form what the service has. */
async function offer() {
  try {
    const catalogue = await loadCatalogue();
    show(byId("page-problem"));
    offerEncodings(catalogue);
    offerRequest(catalogue);
  } catch (error) {
    if (error.problem?.status === 401) show(byId("page-problem")); // the key is asked for
    else showProblem(byId("page-problem"), error, load);
  }
}

/** Brings the job into view: on a phone it lies below the form. */
function showPanel() {
  byId("job").focus({ preventScroll: true });
  byId("job").scrollIntoView();
}

/** Loads everything that depends on who asks. */
async function load() {
  refreshJobs();
  await offer();
  openNamed(); // after the categories, whose colours it shows
}

const useMask = sendRequests((job) => {
  location.hash = job.id;
  refreshJobs();
});
chooseMasks(useMask);
listJobs();
askForKeys(() => {
  load();
  refreshService();
});
addEventListener("hashchange", openNamed);
load();
watchService();
