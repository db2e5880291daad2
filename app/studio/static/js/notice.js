// One line across the page: what went wrong with the page itself, or what there is to know, and what can be done.

import { attach, byId, fill, h } from "./dom.js";

/** Say one thing; `act` is done by a button called `label`. Another notice takes its place. */
export function notice(text, label = "", act = null) {
  const place = byId("notice");
  const done = (then) => () => {
    clear();
    then?.();
  };
  fill(place, h("span", {}, text), label && h("button", { type: "button", onclick: done(act) }, label));
  attach(place, h("button", { type: "button", onclick: done(null) }, "Dismiss"));
  place.hidden = false;
}

function clear() {
  const place = byId("notice");
  if (place.contains(document.activeElement)) byId("maker").focus({ preventScroll: true });
  place.hidden = true;
  fill(place);
}
