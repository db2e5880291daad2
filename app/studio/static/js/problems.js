// Puts what the service found wrong where it belongs, in its own words: each error to the field its pointer names.

import { attach, fill, h, hide, icon } from "./dom.js";

/** Take all errors away. */
export function clear(form, summary) {
  for (const error of form.querySelectorAll(".error")) {
    error.hidden = true;
    error.textContent = "";
  }
  for (const control of form.querySelectorAll("[aria-invalid]")) control.removeAttribute("aria-invalid");
  hide(summary);
  fill(summary);
}

/** Show a problem: at its fields, and summed up in `summary`. The first wrong field gets the focus. */
export function show(problem, form, summary) {
  clear(form, summary);
  const faults = (problem.errors || []).map((fault) => ({ ...fault, place: placeOf(form, fault) }));
  for (const { place, detail } of faults) if (place) mark(place, detail);
  attach(summary, icon("warning"), h("div", {}, h("strong", {}, problem.title || "Not sent"), body(problem, faults)));
  summary.hidden = false;
  const first = faults.find(({ place }) => place)?.place;
  const control = first && controlOf(first);
  (control || summary).focus();
  (first || summary).scrollIntoView({ block: "nearest" });
}

function body(problem, faults) {
  const wait = problem.retryAfter ? ` Try again in ${problem.retryAfter} s.` : "";
  if (!faults.length) return h("p", {}, problem.message + wait);
  return h("ul", {}, ...faults.map((fault) => h("li", {}, line(fault))));
}

function line({ place, pointer, detail }) {
  const path = pointer.replace(/^#\//, "");
  const name = place ? nameOf(place) : path;
  const control = place && controlOf(place);
  if (!control?.id) return `${name}: ${detail}`;
  return h("button", { type: "button", class: "link", onclick: () => control.focus() }, `${name}: ${detail}`);
}

/** Return the field that a pointer names, the nearest there is. */
function placeOf(form, { pointer, detail }) {
  const parts = pointer.replace(/^#\//, "").split("/");
  const fields = [...form.querySelectorAll("[data-pointer]")];
  for (let length = parts.length; length > 0; length -= 1) {
    const path = parts.slice(0, length).join("/");
    const named = fields.filter((one) => one.dataset.pointer === path || one.dataset.also?.split(" ").includes(path));
    const own = named.find((one) => one.dataset.method && detail.startsWith(`${one.dataset.method}:`));
    const shown = own || named.find((one) => !one.hidden) || named[0];
    if (shown) return shown;
  }
  return null;
}

/** Return the control of a field: what is entered or chosen there, not what can be done with it. */
const controlOf = (place) => CONTROLS.map((kind) => place.querySelector(kind)).find(Boolean);
const CONTROLS = ["input[name=method]:checked", "input[name=method]", "input:not([name=mode], .weight), textarea, select", "button"];
const nameOf = (place) => place.querySelector("legend, .legend, label")?.firstChild?.textContent.trim() || place.dataset.pointer;

function mark(place, detail) {
  place.hidden = false;
  for (let fold = place.closest("details"); fold; fold = fold.parentElement.closest("details")) {
    fold.hidden = false;
    fold.open = true;
  }
  const error = place.querySelector(":scope > .error");
  if (error) {
    error.textContent = error.textContent ? `${error.textContent}; ${detail}` : detail;
    error.hidden = false;
  }
  controlOf(place)?.setAttribute("aria-invalid", "true");
}
