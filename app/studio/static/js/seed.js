// The seed: drawn anew for each picture, or locked.

import { byId, fill, icon } from "./dom.js";

/** The seed's field and its lock. */
export class Seed {
  constructor() {
    this.entry = byId("seed");
    this.button = byId("seed-lock");
    this.locked = false;
    this.last = null;
    this.button.addEventListener("click", () => (this.locked ? this.unlock() : this.lock(this.entry.value || this.last || drawn())));
    this.entry.addEventListener("input", () => (this.entry.value ? this.#show(true) : this.#show(false)));
    this.#show(false);
  }

  /** Keep a seed for all that follows. */
  lock(seed) {
    this.entry.value = String(seed);
    this.#show(true);
  }

  /** Draw a new one each time. */
  unlock() {
    this.entry.value = "";
    this.#show(false);
  }

  /** Return the seed of the next request. */
  next() {
    this.last = this.locked ? this.entry.value.trim() : drawn();
    return this.last;
  }

  #show(locked) {
    this.locked = locked;
    this.button.setAttribute("aria-pressed", String(locked));
    this.button.setAttribute("aria-label", locked ? "Unlock: a new seed each time" : "Lock the seed");
    this.button.title = this.button.getAttribute("aria-label");
    fill(this.button, icon(locked ? "lock" : "unlock"));
    byId("seed-aside").textContent = locked ? "locked" : "new each time";
  }
}

const drawn = () => String(crypto.getRandomValues(new Uint32Array(1))[0]);
