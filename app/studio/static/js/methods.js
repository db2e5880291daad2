// The methods as cards: one picture and one sentence each, from `GET /methods`.

import { fill, h } from "./dom.js";
import { emblem } from "./emblem.js";

/** Return the first statement of a summary. */
function sentence(summary) {
  const [first] = summary.split(/(?<=[\w)]{3})[.;:] /);
  return first.endsWith(".") ? first : `${first}.`;
}

/** Return why a method cannot run on a model; empty when it can, or when nobody knows yet. */
function hindrance(method, model) {
  if (!method.models.includes(model)) return method.models.length ? `runs on ${method.models.join(", ")}` : "needs another base model";
  return method.refusals[model] || "";
}

/** The cards. `changed` is called when the choice changes. */
export class Methods {
  constructor(place, thumbnails, changed) {
    this.place = place;
    this.thumbnails = thumbnails;
    this.changed = changed;
    this.all = [];
    this.several = false;
    place.addEventListener("change", () => this.changed());
  }

  /** Show methods as they are on a model; the choice stays as far as it can. */
  draw(all, model) {
    this.all = all;
    this.model = model;
    const before = this.chosen();
    const able = all.filter((method) => !hindrance(method, model));
    const unable = all.filter((method) => hindrance(method, model));
    const cards = able.map((method) => this.#card(method));
    fill(this.place, h("div", { class: "cards" }, ...cards), unable.length > 0 && this.#others(unable));
    const kept = able.filter((method) => before.some(({ name }) => name === method.name));
    this.choose((kept.length ? kept : able.slice(0, 1)).map((method) => method.name));
  }

  /** Return the chosen methods. */
  chosen() {
    const names = [...this.place.querySelectorAll("input:checked")].map((input) => input.value);
    return this.all.filter((method) => names.includes(method.name));
  }

  /** Choose methods by name, those that are there. */
  choose(names) {
    const wanted = this.several ? names : names.slice(0, 1);
    for (const input of this.#inputs()) input.checked = wanted.includes(input.value);
    this.changed();
  }

  /** Let one be chosen, or several. */
  allow(several) {
    const chosen = this.chosen().map((method) => method.name);
    this.several = several;
    for (const input of this.#inputs()) input.type = several ? "checkbox" : "radio";
    this.choose(chosen);
  }

  /** Choose all that take the picked pictures. */
  chooseFitting(styles, hasContent) {
    const fit = this.all.filter((method) => !hindrance(method, this.model) && fits(method, styles, hasContent));
    this.choose(fit.map((method) => method.name));
  }

  #inputs() {
    return this.place.querySelectorAll("input");
  }

  #card(method) {
    const experimental = method.experimental || method.experimental_on.length > 0;
    const needs = { required: "repaints a content picture", optional: "can repaint a content picture" }[method.inputs.content_image];
    const tags = [needs, experimental && "experimental"].filter(Boolean);
    const input = h("input", { type: this.several ? "checkbox" : "radio", name: "method", value: method.name });
    return h(
      "label",
      { class: "method" },
      input,
      h("span", { class: "thumb" }, this.#thumbnail(method)),
      h("span", { class: "words" }, h("span", { class: "name" }, method.title), h("span", { class: "about" }, sentence(method.summary)), tags.length > 0 && h("span", { class: "tags" }, tags.join(" · "))),
    );
  }

  #thumbnail(method) {
    const known = this.thumbnails[method.name];
    return known ? h("img", { src: `studio/examples/${known}`, alt: "", width: 56, height: 56 }) : emblem(method);
  }

  #others(unable) {
    const rows = unable.map((method) => [h("dt", {}, method.title), h("dd", {}, hindrance(method, this.model))]);
    const title = unable.length === 1 ? "1 more method cannot run here" : `${unable.length} more methods cannot run here`;
    return h("details", { class: "fold others" }, h("summary", {}, title), h("dl", { class: "fold-body" }, ...rows.flat()));
  }
}

function fits(method, styles, hasContent) {
  const [least, most] = method.inputs.references;
  return least <= styles && styles <= most && (method.inputs.content_image !== "required" || hasContent);
}
