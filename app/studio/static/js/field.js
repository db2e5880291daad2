// A labelled control with a hint and a place for its error; `pointer` is what the service calls it.

import { h } from "./dom.js";

let count = 0;

/** Return the field of a control. */
export function field({ label, hint, control, pointer, data = {}, inline = false }) {
  count += 1;
  control.id ||= `field-${count}`;
  const described = `${control.id}-hint ${control.id}-error`;
  control.setAttribute("aria-describedby", described);
  const name = h("label", { for: control.id }, label);
  const text = h("p", { class: "hint", id: `${control.id}-hint` }, hint || "");
  const error = h("p", { class: "error", id: `${control.id}-error`, hidden: true });
  const attributes = { class: inline ? "field inline" : "field", "data-pointer": pointer };
  for (const [key, value] of Object.entries(data)) attributes[`data-${key}`] = value;
  return inline ? h("div", attributes, control, name, text, error) : h("div", attributes, name, control, text, error);
}

/** Return a text control for numbers: what is not one goes to the service, which says so in its own words. */
export function numberEntry(placeholder, whole) {
  return h("input", { type: "text", inputmode: whole ? "numeric" : "decimal", autocomplete: "off", placeholder });
}

/** Return a select of [value, text] pairs. */
export function select(options) {
  return h("select", {}, ...options.map(([value, text]) => h("option", { value }, text)));
}
