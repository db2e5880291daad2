// What is deleted goes after some seconds in which it can be taken back.

import { byId, fill, h, hide } from "./dom.js";

const GRACE = 10_000;
let pending = null; // {commit, undo, timer}

/** Say `text` and do `commit` after the grace, or at once when the page is left or something else is deleted; who takes it back has `undo` instead. */
export function deleteLater(text, { commit, undo }) {
  settle();
  pending = { commit, undo, timer: setTimeout(settle, GRACE) };
  fill(byId("undo"), h("span", {}, text), h("button", { type: "button", onclick: takeBack }, "Undo"));
  byId("undo").hidden = false;
}

function settle() {
  ended()?.commit();
}

function takeBack() {
  ended()?.undo();
}

function ended() {
  const ends = pending;
  clearTimeout(ends?.timer);
  pending = null;
  hide(byId("undo"), true, byId("wall"));
  return ends;
}

window.addEventListener("pagehide", settle);
document.addEventListener("keydown", (event) => {
  if (!pending || event.key !== "z" || !(event.ctrlKey || event.metaKey) || event.target.matches("input, textarea")) return;
  event.preventDefault();
  takeBack();
});
