// What this service offers, asked for once: limits, models, categories, ontologies; and the categories' colours.

import { call } from "./api.js";
import { byId, element, shape } from "./elements.js";

const IGNORE = 255; // a label's "do not judge this pixel"
let colors = new Map();

/** Capabilities, models, categories and ontologies. Throws Refused. */
export async function loadCatalogue() {
  const [capabilities, models, categories, ontologies] = await Promise.all(
    ["/v1/capabilities", "/v1/models", "/v1/categories", "/v1/ontologies"].map((path) => call(path)),
  );
  colors = new Map(categories.items.map((category) => [category.name, category.color]));
  byId("category-colours")?.closest("svg").remove();
  document.body.append(colouring(categories.items));
  return { capabilities, models: models.items, categories: categories.items, ontologies: ontologies.items };
}

/** A small square in the category's colour. */
export function swatch(name) {
  const made = element("span", { class: "swatch", "aria-hidden": "true" });
  made.style.backgroundColor = colors.get(name) ?? "transparent";
  return made;
}

/**
 * An SVG filter that shows a mask of class ids in its categories' colours, background and ignore transparent.
 *
 * The masks that belong to pictures lie in storage, under another origin: a page may show them, not read them.
 */
function colouring(categories) {
  const table = (channel) => {
    const values = new Array(256).fill(0);
    for (const { id, color } of categories) values[id] = Number.parseInt(color.slice(1 + 2 * channel, 3 + 2 * channel), 16) / 255;
    return values.map((value) => value.toFixed(5)).join(" ");
  };
  const opaque = Array.from({ length: 256 }, (_, id) => (id === 0 || id === IGNORE ? 0 : 1)).join(" ");
  const discrete = (tag, tableValues) => shape(tag, { type: "discrete", tableValues });
  return shape("svg", { width: 0, height: 0, "aria-hidden": "true", class: "unseen" },
    shape("filter", { id: "category-colours", "color-interpolation-filters": "sRGB", x: 0, y: 0, width: 1, height: 1 },
      shape("feComponentTransfer", { in: "SourceGraphic", result: "colours" },
        ...["R", "G", "B"].map((channel, at) => discrete(`feFunc${channel}`, table(at)))),
      shape("feComponentTransfer", { in: "SourceGraphic" }, discrete("feFuncR", opaque)),
      shape("feColorMatrix", { values: "0 0 0 0 0  0 0 0 0 0  0 0 0 0 0  1 0 0 0 0", result: "where" }),
      shape("feComposite", { in: "colours", in2: "where", operator: "in" })));
}
