// Makes elements. Whatever comes from users or from the service becomes text here, never markup.

const SVG = "http://www.w3.org/2000/svg";

/** An element with these properties ("on…": listeners, "aria-…" and the like: attributes) and children; null ones are left out. */
export function element(tag, properties = {}, ...children) {
  return filled(document.createElement(tag), properties, children);
}

/** The same, of SVG, where everything is an attribute. */
export function shape(tag, attributes = {}, ...children) {
  const made = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, String(value));
  made.append(...children);
  return made;
}

/** Puts these children, and no others, into the element. */
export function show(parent, ...children) {
  parent.replaceChildren(...children.flat().filter((child) => child !== null && child !== undefined));
}

/** The element of the page with that id. */
export const byId = (id) => document.getElementById(id);

/** A link that opens beside the page, and learns nothing of it. */
export function outside(href, ...children) {
  return element("a", { href, target: "_blank", rel: "noopener noreferrer" }, ...children);
}

/** Options of a select: [value, text] each. */
export function setOptions(select, pairs, chosen) {
  show(select, pairs.map(([value, text]) => element("option", { value, selected: value === chosen }, text)));
}

function filled(made, properties, children) {
  for (const [name, value] of Object.entries(properties)) {
    if (value === null || value === undefined) continue;
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (name === "class") made.className = value;
    else if (name in made) made[name] = value;
    else made.setAttribute(name, value);
  }
  show(made, ...children);
  return made;
}
