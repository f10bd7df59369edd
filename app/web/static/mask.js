// The mask: chosen, dropped or the sample; stored by POST /v1/masks, then shown as the service understood it.

import { ask, call } from "./api.js";
import { swatch } from "./catalogue.js";
import { byId, element, setOptions, show } from "./elements.js";
import { showProblem } from "./problems.js";
import { percent, several } from "./words.js";

const NAMES = {
  auto: "automatic", class_id: "class ids", palette: "palette", color: "colours", binary: "one category",
};

/** Wires the mask's part of the form. `changed` is called with the stored mask, or null while there is none. */
export function chooseMasks(changed) {
  const input = byId("mask-file"), drop = byId("drop"), place = byId("mask");
  let file = null, latest = 0, preview = null;

  async function take(chosen) {
    file = chosen;
    const turn = ++latest;
    changed(null);
    show(byId("mask-problem"));
    show(place, element("p", { class: "hint" }, `Reading ${file.name} …`));
    try {
      const mask = await call("/v1/masks", { method: "POST", form: formOf(file) });
      const picture = await (await ask(mask.preview_url)).blob();
      if (turn !== latest) return; // another file was chosen meanwhile
      if (preview) URL.revokeObjectURL(preview);
      preview = URL.createObjectURL(picture);
      show(place, described(mask, file.name, preview));
      changed(mask);
    } catch (error) {
      if (turn !== latest) return;
      show(place);
      showProblem(byId("mask-problem"), error, () => take(file));
    }
  }

  input.addEventListener("change", () => {
    if (input.files.length) take(input.files[0]);
    input.value = ""; // so that the same file, mended, can be chosen again
  });
  byId("mask-sample").addEventListener("click", async () => {
    try {
      const answer = await ask("page/sample_mask.png");
      take(new File([await answer.blob()], "sample_mask.png", { type: "image/png" }));
    } catch (error) {
      showProblem(byId("mask-problem"), error);
    }
  });
  for (const id of ["encoding", "ontology", "binary-category"]) {
    byId(id).addEventListener("change", () => {
      byId("binary").hidden = byId("encoding").value !== "binary";
      if (file) take(file);
    });
  }
  // Anywhere on the page: a file that misses the field would make the browser leave the page.
  addEventListener("dragover", (event) => { event.preventDefault(); drop.classList.add("over"); });
  addEventListener("dragleave", (event) => { if (!event.relatedTarget) drop.classList.remove("over"); });
  addEventListener("drop", (event) => {
    event.preventDefault();
    drop.classList.remove("over");
    if (event.dataTransfer.files.length) take(event.dataTransfer.files[0]);
  });
}

/** Fills the selectors with what the service offers. */
export function offerEncodings({ capabilities, categories, ontologies }) {
  const encodings = capabilities.masks.encodings.filter((name) => name in NAMES); // instances need more than a file
  setOptions(byId("encoding"), encodings.map((name) => [name, NAMES[name]]), "auto");
  setOptions(byId("ontology"), ontologies.map((one) => [one.name, one.title]), "earthsynth");
  setOptions(byId("binary-category"), categories.filter((one) => one.id).map((one) => [one.name, one.name]));
}

/** The categories that are ticked; null: all that the mask has. */
export function tickedCategories() {
  const boxes = [...byId("mask").querySelectorAll("input[type=checkbox]")];
  return boxes.every((box) => box.checked) ? null : boxes.filter((box) => box.checked).map((box) => box.value);
}

function formOf(file) {
  const form = new FormData();
  form.append("file", file);
  const encoding = byId("encoding").value, ontology = byId("ontology").value;
  if (encoding) form.append("encoding", encoding); // empty as long as the service has not said what it takes
  if (ontology) form.append("ontology", ontology);
  if (encoding === "binary") form.append("category", byId("binary-category").value);
  return form;
}

function described(mask, name, preview) {
  const known = mask.categories.filter((category) => category.id !== 0 && category.id !== 255);
  const rest = mask.categories.filter((category) => !known.includes(category));
  return [
    element("img", { src: preview, alt: "The mask in its categories’ colours", class: "mask-preview" }),
    element("div", {},
      element("p", { class: "facts" }, `${name}: ${mask.width} × ${mask.height} pixels, ${NAMES[mask.encoding] ?? mask.encoding}`),
      element("ul", { class: "ticks", "aria-label": "Categories for the prompt" }, ...known.map((category) => element("li", {},
        element("label", {}, element("input", { type: "checkbox", value: category.name, checked: true }), swatch(category.name),
          element("span", { class: "name" }, category.name), element("span", { class: "share" }, percent(category.share)))))),
      rest.length ? element("p", { class: "hint" }, rest.map((one) => `${one.name} ${percent(one.share)}`).join(", ")) : null),
    mask.warnings.length
      ? element("ul", { class: "warnings", "aria-label": several(mask.warnings.length, "warning") }, ...mask.warnings.map((text) => element("li", {}, text)))
      : null,
  ];
}
