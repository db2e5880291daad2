// The fields that every method has; empty ones are not sent, the method's own defaults then hold.

import { fill, h, hide } from "./dom.js";
import { field, numberEntry, select } from "./field.js";

const OF_A_METHOD = ["steps", "guidance_scale"];
const FORMATS = [["png", "PNG"], ["jpeg", "JPEG"], ["webp", "WebP"]];

/** The settings in a folded panel. `changed` is called when another model is chosen. */
export class Settings {
  constructor(place, changed) {
    this.entries = {
      width: numberEntry("", true),
      height: numberEntry("", true),
      steps: numberEntry("", true),
      guidance_scale: numberEntry("", false),
      num_images: numberEntry("1", true),
      output_format: select(FORMATS),
      model: select([]),
      negative_prompt: h("textarea", { rows: 2 }),
    };
    this.models = [];
    this.model = null;
    this.taken = {}; // what a recipe said of steps and guidance, until another method is chosen
    const { width, height, steps, guidance_scale, num_images, output_format, model, negative_prompt } = this.entries;
    model.addEventListener("change", () => {
      this.model = model.value;
      changed();
    });
    fill(
      place,
      h("div", { class: "pair" }, of("Width", "width", width), of("Height", "height", height)),
      h("div", { class: "pair" }, of("Steps", "steps", steps), of("Guidance", "guidance_scale", guidance_scale)),
      h("div", { class: "pair" }, of("Pictures", "num_images", num_images), of("Format", "output_format", output_format)),
      of("Negative prompt", "negative_prompt", negative_prompt, "what to keep out"),
      (this.choice = of("Base model", "model", model)),
    );
    this.choice.hidden = true;
  }

  /** Offer the served models; the one that is chosen stays. */
  offer(models) {
    if (models === this.models) return;
    this.models = models;
    const known = models.some(({ id }) => id === this.model);
    if (!known) this.model = (models.find((model) => model.default) || models[0])?.id;
    fill(this.entries.model, ...models.map(({ id, title }) => h("option", { value: id }, title)));
    this.entries.model.value = this.model;
    hide(this.choice, models.length < 2);
  }

  /** Return the chosen model. */
  get chosen() {
    return this.models.find((model) => model.id === this.model);
  }

  /** Return what the model is built like; the defaults of methods go by it. */
  get base() {
    return this.chosen?.base;
  }

  /** Say what an empty field means for a method. */
  hint(method) {
    const preset = method?.defaults[this.base];
    for (const name of OF_A_METHOD) this.entries[name].placeholder = preset ? String(preset[name]) : "";
    for (const name of ["width", "height"]) {
      this.entries[name].placeholder = "the model’s";
      this.entries[name].title = this.chosen ? `in steps of ${this.chosen.size_multiple} pixels` : "";
    }
  }

  /** Write what was entered into a form. */
  fill(form) {
    for (const [name, entry] of Object.entries(this.entries)) {
      const value = entry.value.replace(/\s*\n\s*/g, " ").trim();
      const preset = name === "output_format" ? "png" : name === "model" ? this.models.find((model) => model.default)?.id : "";
      if (value && value !== preset) form.append(name, value);
    }
  }

  /** Return what is entered, by name. */
  entered() {
    return Object.fromEntries(Object.entries(this.entries).map(([name, entry]) => [name, entry.value]));
  }

  /** Take what a recipe says. */
  write(recipe) {
    for (const [name, entry] of Object.entries(this.entries)) if (name in recipe) entry.value = String(recipe[name]);
    if (this.models.some((model) => model.id === recipe.model)) this.model = recipe.model;
    this.taken = Object.fromEntries(OF_A_METHOD.map((name) => [name, this.entries[name].value]));
  }

  /** Let another method have its own steps and guidance, unless they were entered by hand. */
  letGo() {
    for (const [name, value] of Object.entries(this.taken)) if (this.entries[name].value === value) this.entries[name].value = "";
    this.taken = {};
  }
}

function of(label, pointer, control, hint) {
  control.id = `setting-${pointer}`;
  return field({ label, pointer, control, hint });
}
