// What a comparison compares beside methods: several seeds, several strengths.

import { byId } from "./dom.js";

/** The fields for them. `changed` is called after each change. */
export class Variants {
  constructor(changed) {
    this.place = byId("variants");
    this.count = byId("seed-count");
    this.list = byId("strengths");
    for (const entry of [this.count, this.list]) entry.addEventListener("input", changed);
  }

  /** Return as many seeds as are wanted, from the first on. */
  seeds(first) {
    if (this.place.hidden || !/^\d+$/.test(first)) return [first];
    return Array.from({ length: Number(this.count.value) }, (_, n) => String(BigInt(first) + BigInt(n)));
  }

  /** Return the strengths, as they were entered; none where each method has its own. */
  strengths() {
    return this.place.hidden ? [] : [...new Set(this.list.value.split(/[,;\s]+/).filter(Boolean))];
  }
}
