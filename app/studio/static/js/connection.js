// Whether the gateway answers: a line across the page while it does not, and a look at it until it does.

import { ask, Away } from "./api.js";
import { byId, hide } from "./dom.js";

const FIRST_PAUSE = 1000;
const LONGEST_PAUSE = 10000;
const back = new Set();
let timer = null;
let next = Promise.withResolvers();
let pause = FIRST_PAUSE;

/** Call `then` each time the gateway is back. */
export function whenBack(then) {
  back.add(then);
}

/** The gateway did not answer. Resolves once it does. */
export function lost() {
  if (timer === null) {
    byId("away").hidden = false;
    pause = FIRST_PAUSE;
    timer = setTimeout(look, pause);
  }
  return next.promise;
}

/** The gateway answered. */
export function reached() {
  if (timer === null) return;
  clearTimeout(timer);
  timer = null;
  hide(byId("away"), true, byId("maker"));
  next.resolve();
  next = Promise.withResolvers();
  for (const then of back) then();
}

async function look() {
  try {
    await ask("livez");
    reached();
  } catch (fault) {
    if (!(fault instanceof Away)) return reached();
    pause = Math.min(pause * 1.5, LONGEST_PAUSE);
    if (timer !== null) timer = setTimeout(look, pause);
  }
}

/** Let people try at once. */
export function install() {
  byId("away-retry").addEventListener("click", () => {
    clearTimeout(timer);
    look();
  });
}
