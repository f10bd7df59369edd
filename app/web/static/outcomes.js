// What an ended job made: pictures, a data set's table and archives, a trained model, an export's file.

import { call } from "./api.js";
import { element, outside, show } from "./elements.js";
import { gallery, maskFigure } from "./pictures.js";
import { showProblem } from "./problems.js";
import { bytes, moment, percent, score } from "./words.js";

const PAGE = 24;

/** Shows it in that place. Throws Refused. */
export async function showOutcome(place, job, signal) {
  if (job.kind === "generation" || job.kind === "dataset") {
    const facts = job.kind === "dataset" ? await datasetFacts(job, signal) : [];
    await showSamples(place, job, facts, signal);
  } else if (job.kind === "training") show(place, trainingFacts(await call(`/v1/trainings/${job.id}`, { signal })));
  else if (job.kind === "export") {
    show(place, exportRow(await call(`/v1/datasets/${job.request.dataset_id}/exports/${job.id}`, { signal })),
      element("p", {}, "Of the data set ", element("a", { href: `#${job.request.dataset_id}` }, job.request.dataset_id)));
  }
}

async function showSamples(place, job, facts, signal) {
  const path = `/v1/jobs/${job.id}/results?limit=${PAGE}`;
  let page = await call(path, { signal });
  if (!page.items.length) return show(place, facts);
  const { bar, grid, add } = gallery(), problem = element("div", {});
  const more = element("button", { type: "button" }, "More pictures");
  const added = () => {
    add(page.items);
    more.hidden = !page.next_cursor;
  };
  more.addEventListener("click", async () => {
    more.disabled = true;
    try {
      page = await call(`${path}&cursor=${encodeURIComponent(page.next_cursor)}`, { signal });
      added();
    } catch (error) {
      if (!signal.aborted) showProblem(problem, error);
    }
    more.disabled = false;
  });
  if (job.kind === "generation") grid.append(maskFigure(page.items[0], await categoriesOf(page.items[0].mask_id, signal)));
  added();
  const ends = page.items[0].mask.expires_at;
  return show(place, facts, bar, grid, more, problem,
    element("p", { class: "hint" }, `The links to files end at ${moment(ends)}; open the job again for fresh ones.`));
}

/** The names of the categories in a mask; none where it has been deleted meanwhile, which leaves jobs their copies. */
async function categoriesOf(maskId, signal) {
  try {
    const { categories } = await call(`/v1/masks/${maskId}`, { signal });
    return categories.filter((category) => category.id !== 0 && category.id !== 255).map((category) => category.name);
  } catch (error) {
    if (error.problem?.status === 404) return [];
    throw error;
  }
}

async function datasetFacts(job, signal) {
  const [dataset, exports] = await Promise.all(
    [`/v1/datasets/${job.id}`, `/v1/datasets/${job.id}/exports`].map((path) => call(path, { signal })),
  );
  const rows = Object.entries(dataset.categories).map(([name, { generated, accepted }]) => element("tr", {},
    element("th", { scope: "row" }, name), element("td", {}, generated), element("td", {}, accepted),
    element("td", {}, generated ? percent(accepted / generated) : "–")));
  return [
    element("h3", {}, dataset.name),
    rows.length ? element("table", {},
      element("thead", {}, element("tr", {}, ...["Category", "Made", "Accepted", "Rate"].map((title) => element("th", { scope: "col" }, title)))),
      element("tbody", {}, ...rows)) : null,
    exports.items.length ? element("h3", {}, "Exports") : null,
    ...exports.items.map(exportRow),
  ];
}

function exportRow(made) {
  return element("p", {}, `${made.format} · ${made.status} `,
    made.archive ? outside(made.archive.url, `archive, ${bytes(made.archive.bytes)}`) : null,
    made.pictures === null ? null : ` · ${made.pictures} pictures`);
}

function trainingFacts(training) {
  const made = training.result;
  const last = training.history.at(-1);
  return [
    made ? element("p", {}, "Made the model ", element("strong", {}, `${made.model.name}@${made.model.version}`), ": choose it in the form.") : null,
    last ? element("p", {}, `Step ${last.step}: loss ${score(last.loss_global)}, local ${score(last.loss_local)}`) : null,
    ...training.validations.map((one) => element("figure", { class: "sheet" },
      element("img", { src: one.sheet.url, alt: `Masks above, pictures below, after step ${one.step}` }),
      element("figcaption", {}, `After step ${one.step}`, one.agreement === null ? null : `: mask agreement ${score(one.agreement)}`))),
  ];
}
