// Pictures of samples: under their mask and boxes, with seed, labels, R-Filter's verdict and files.

import { swatch } from "./catalogue.js";
import { element, outside, shape } from "./elements.js";
import { score, several } from "./words.js";

/** The switches for all pictures below them, the grid of these, and what adds samples to it. */
export function gallery() {
  const grid = element("div", { class: "grid", tabIndex: -1 });
  const opacity = element("input", { id: "opacity", type: "range", min: 0, max: 100, step: 5, value: 0 });
  const boxes = element("input", { id: "boxes", type: "checkbox", checked: true });
  const apply = () => {
    grid.style.setProperty("--mask-opacity", String(opacity.value / 100));
    grid.classList.toggle("no-boxes", !boxes.checked);
  };
  opacity.addEventListener("input", apply);
  boxes.addEventListener("change", apply);
  apply();
  const bar = element("div", { class: "switches" },
    element("label", { htmlFor: "opacity" }, "Mask over the picture"), opacity,
    element("label", { class: "tick", hidden: true }, boxes, " Boxes"));
  const add = (samples) => {
    grid.append(...samples.map(pictureFigure));
    if (samples.some((sample) => sample.labels.annotations.length)) boxes.parentElement.hidden = false;
  };
  return { bar, grid, add };
}

/** The mask that conditioned the picture, coloured; `names` are the categories in it. */
export function maskFigure(sample, names) {
  return element("figure", {},
    element("div", { class: "stage only-mask" }, maskImage(sample)),
    element("figcaption", {}, element("p", { class: "facts" }, element("strong", {}, "Mask"), " as the model saw it"),
      legend(names)));
}

/** One sample: its picture, or why there is none. */
function pictureFigure(sample) {
  const tries = sample.try_number + 1;
  return element("figure", { class: sample.status },
    element("div", { class: "stage" }, ...(sample.image ? layers(sample) : [element("p", { class: "empty" }, "No picture: every try was rejected by R-Filter, and none was kept.")])),
    element("figcaption", {},
      element("p", { class: "facts" },
        element("strong", {}, `#${sample.index}`), " ",
        element("span", { class: `badge ${sample.status}` }, sample.status === "exhausted" ? "rejected" : sample.status),
        ` seed ${sample.seed}`, tries > 1 && sample.status === "accepted" ? ` · try ${tries}` : null),
      sample.status === "exhausted" ? element("p", {}, rejection(sample, tries)) : null,
      legend(sample.labels.categories),
      sample.labels.annotations.length ? element("p", { class: "hint" }, objectsOf(sample.labels.annotations)) : null,
      verdict(sample.filter),
      links(sample)));
}

function layers(sample) {
  const { image, labels } = sample;
  const boxes = shape("svg", { class: "boxes", viewBox: `0 0 ${image.width} ${image.height}`, "aria-hidden": "true" },
    ...labels.annotations.map(({ category, box_xywh: [x, y, width, height] }) =>
      shape("rect", { x, y, width, height }, shape("title", {}, category))));
  const alt = `Synthetic picture ${sample.index} of ${labels.categories.join(", ")}`;
  return [
    element("img", { class: "picture", src: image.url, alt, width: image.width, height: image.height }),
    maskImage(sample),
    boxes,
  ];
}

function maskImage(sample) {
  return element("img", { class: "ids", src: sample.mask.url, alt: "" });
}

function legend(names) {
  return element("ul", { class: "legend", "aria-label": "Labels" }, ...names.map((name) => element("li", {}, swatch(name), name)));
}

function objectsOf(annotations) {
  const counts = new Map();
  for (const { category } of annotations) counts.set(category, (counts.get(category) ?? 0) + 1);
  return `${several(annotations.length, "object")}: ${[...counts].map(([name, count]) => `${count} ${name}`).join(", ")}`;
}

function rejection(sample, tries) {
  const reasons = sample.filter.rules.filter((rule) => rule.passed === false).map((rule) => rule.detail);
  return [tries === 1 ? "Its one try was rejected by R-Filter." : `All ${tries} tries were rejected by R-Filter; of the last it says:`, ...reasons].join(" ");
}

function verdict({ rules }) {
  if (!rules.length) return element("p", { class: "hint" }, "R-Filter was off.");
  const judged = rules.filter((rule) => rule.passed !== null);
  const passed = judged.filter((rule) => rule.passed).length;
  return element("details", {},
    element("summary", {}, judged.length ? `R-Filter: ${passed} of ${several(judged.length, "rule")} passed` : "R-Filter: no rule was applied"),
    element("ul", { class: "rules" }, ...rules.map((rule) => element("li", { class: { true: "passed", false: "refused" }[rule.passed] ?? "unjudged" },
      element("strong", {}, rule.name), rule.score === null ? null : ` ${score(rule.score)}`,
      rule.threshold === null ? null : element("span", { class: "hint" }, ` threshold ${score(rule.threshold)}`),
      element("br"), element("span", { class: "hint" }, rule.detail)))));
}

function links(sample) {
  const labels = new Blob([JSON.stringify({ ...sample.labels, index: sample.index, seed: sample.seed, prompt: sample.prompt, mask_sha256: sample.mask_sha256 }, null, 1)], { type: "application/json" });
  const save = () => { // made when asked for, so that nothing has to be let go of later
    const href = URL.createObjectURL(labels);
    element("a", { href, download: `labels-${String(sample.index).padStart(6, "0")}.json` }).click();
    setTimeout(() => URL.revokeObjectURL(href), 10_000);
  };
  return element("p", { class: "links" },
    sample.image ? outside(sample.image.url, "picture") : null,
    outside(sample.mask.url, "mask"),
    sample.label.url.split("?")[0] === sample.mask.url.split("?")[0] ? null : outside(sample.label.url, "label"),
    element("button", { type: "button", class: "link", onclick: save }, "labels (JSON)"),
    ...Object.entries(sample.files).map(([name, file]) => outside(file.url, name)));
}
