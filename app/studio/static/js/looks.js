// Three ways to look at a picture: alone, beside its reference, or under it with a slider between them.

import { h } from "./dom.js";
import { show } from "./pictures.js";
import { zoomable } from "./zoom.js";

/** Return the pictures' ways to be looked at: {picture, reference, words, name}; paths, or no reference. */
export function looks(given) {
  return {
    alone: () => zoomable([image(given.picture, given.words)], given.words).node,
    beside: () => beside(given),
    slider: () => slider(given),
  };
}

function image(path, alt, extra = "") {
  const node = h("img", { alt, class: extra, draggable: "false", decoding: "async" });
  show(node, path);
  return node;
}

function beside({ picture, reference, words, name }) {
  const part = (path, caption, alt) => h("figure", {}, image(path, alt), h("figcaption", {}, caption));
  return h("div", { class: "beside" }, part(reference, name, name), part(picture, "Picture", words));
}

function slider({ picture, reference, words, name }) {
  const over = image(reference, name, "over");
  const line = h("div", { class: "divider", "aria-hidden": "true" });
  const range = h("input", { type: "range", min: 0, max: 100, step: 1, value: 50, class: "divide", "aria-label": `How much of the ${name.toLowerCase()} shows` });
  const frame = h("div", { class: "slider" }, image(picture, words), over, line, range, h("span", { class: "corner left" }, name), h("span", { class: "corner right" }, "Picture"));
  const draw = () => frame.style.setProperty("--at", `${range.value}%`);
  range.addEventListener("input", draw);
  draw();
  return frame;
}
