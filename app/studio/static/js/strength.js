// The strength: each method's own until one is set; one that came with a recipe is for the method of the recipe.

import { byId, hide } from "./dom.js";

const shown = (value) => value.toFixed(2);

/** The slider. `other` is called when another method than the recipe's is chosen. */
export class Strength {
  constructor(other) {
    this.slider = byId("strength");
    this.told = byId("strength-value");
    this.own = byId("strength-own");
    this.value = null; // what was set
    this.of = ""; // the method whose recipe set it
    this.other = other;
    this.presets = [1];
    this.slider.addEventListener("input", () => this.set(Number(this.slider.value)));
    this.own.addEventListener("click", () => this.set(null));
  }

  /** Set a strength, of one method or for all; null lets each have its own. */
  set(value, of = "") {
    this.value = value;
    this.of = of;
    this.#draw();
  }

  /** Show what it is for the chosen methods on a model. */
  fit(methods, base) {
    this.presets = [...new Set(methods.map((method) => preset(method, base)))];
    if (this.of && methods.length && methods[0].name !== this.of) {
      this.set(null);
      this.other();
    } else this.#draw();
  }

  #draw() {
    const [own = 1] = this.presets;
    this.slider.value = this.value ?? own;
    const several = this.value === null && this.presets.length > 1;
    this.told.textContent = several ? `each its own: ${this.presets.map(shown).join(", ")}` : shown(this.value ?? own);
    hide(this.own, this.value === null, this.slider);
  }
}

/** Return a method's own strength on a model built like `base`. */
export const preset = ({ defaults }, base) => defaults[base]?.strength ?? 1;
