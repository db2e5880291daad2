// Three ways to look at a picture: alone, beside its reference, or under it with a slider between them.

import { h } from "./dom.js";
import { show } from "./pictures.js";
import { zoomable } from "./zoom.js";

/** Return the ways {alone, beside, slider}, each {node, update({picture, reference, words, name})}; the first two are paths. */
export const looks = () => ({ alone: alone(), beside: beside(), slider: slider() });

function image(extra = "") {
  return h("img", { class: extra, draggable: "false", decoding: "async" });
}

function put(node, path, alt) {
  node.alt = alt;
  show(node, path);
}

function alone() {
  const node = image();
  const zoom = zoomable(node);
  const update = ({ picture, words }) => {
    put(node, picture, words);
    zoom.begin(words);
  };
  return { node: zoom.node, update };
}

function beside() {
  const [reference, picture] = [image(), image()];
  const caption = h("figcaption", {});
  const update = (given) => {
    put(reference, given.reference, given.name);
    put(picture, given.picture, given.words);
    caption.textContent = given.name;
  };
  const pair = [h("figure", {}, reference, caption), h("figure", {}, picture, h("figcaption", {}, "Picture"))];
  return { node: h("div", { class: "beside" }, ...pair), update };
}

function slider() {
  const [picture, over] = [image(), image("over")];
  const name = h("span", { class: "corner left" });
  const line = h("div", { class: "divider", "aria-hidden": "true" });
  const range = h("input", { type: "range", min: 0, max: 100, step: 1, value: 50, class: "divide" });
  const node = h("div", { class: "slider" }, picture, over, line, range, name, h("span", { class: "corner right" }, "Picture"));
  const draw = () => node.style.setProperty("--at", `${range.value}%`);
  range.addEventListener("input", draw);
  draw();
  const update = (given) => {
    put(picture, given.picture, given.words);
    put(over, given.reference, given.name);
    name.textContent = given.name;
    range.setAttribute("aria-label", `How much of the ${given.name.toLowerCase()} shows`);
  };
  return { node, update };
}
