// The methods as cards: one picture and one sentence each, from `GET /methods`.

import { arrange, fill, h, hide, keyedList } from "./dom.js";
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
    const list = h("div", { class: "cards" });
    this.summary = h("summary", {});
    this.reasons = h("dl", { class: "fold-body" });
    this.others = h("details", { class: "fold others", hidden: true }, this.summary, this.reasons);
    this.cards = keyedList(list, ({ name }) => name, (method) => this.#card(method));
    arrange(place, list, this.others);
    place.addEventListener("change", () => this.changed());
  }

  /** Show methods as they are on a model; the choice stays as far as it can. */
  draw(all, model) {
    this.all = all;
    this.model = model;
    const before = this.chosen();
    const able = all.filter((method) => !hindrance(method, model));
    this.cards(able);
    this.#exclude(all.filter((method) => hindrance(method, model)));
    const kept = able.filter((method) => before.some(({ name }) => name === method.name));
    const first = able.find((method) => recommendation(method, model)) || able[0];
    this.choose((kept.length ? kept : [first]).filter(Boolean).map((method) => method.name));
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
    const input = h("input", { type: this.several ? "checkbox" : "radio", name: "method", value: method.name });
    const [name, about, tags] = ["name", "about", "tags"].map((part) => h("span", { class: part }));
    const update = (now) => {
      name.textContent = now.title;
      about.textContent = now.brief || sentence(now.summary);
      tags.textContent = tagsOf(now, this.model).join(" · ");
      tags.title = recommendation(now, this.model)?.reason || "";
      tags.hidden = !tags.textContent;
    };
    const thumbnail = h("span", { class: "thumb" }, this.#thumbnail(method));
    return { node: h("label", { class: "method" }, input, thumbnail, h("span", { class: "words" }, name, about, tags)), update };
  }

  #thumbnail(method) {
    const known = this.thumbnails()[method.name];
    return known ? h("img", { src: `studio/examples/${known}`, alt: "", width: 56, height: 56 }) : emblem(method);
  }

  /** Say which methods cannot run here, and why. */
  #exclude(unable) {
    this.summary.textContent = unable.length === 1 ? "1 more method cannot run here" : `${unable.length} more methods cannot run here`;
    fill(this.reasons, ...unable.flatMap((method) => [h("dt", {}, method.title), h("dd", {}, hindrance(method, this.model))]));
    hide(this.others, !unable.length);
  }
}

/** Return why a method is the best for a text on a model; undefined when it is not. */
const recommendation = (method, model) => method.recommended?.find((one) => one.model === model && one.input === "text");

function tagsOf(method, model) {
  const experimental = method.experimental || method.experimental_on.length > 0;
  const needs = { required: "repaints a content picture", optional: "can repaint a content picture" }[method.inputs.content_image];
  const mask = method.inputs.mask_image !== "none" && "takes a mask";
  return [recommendation(method, model) && "recommended", needs, mask, experimental && "experimental"].filter(Boolean);
}

function fits(method, styles, hasContent) {
  const [least, most] = method.inputs.references;
  return least <= styles && styles <= most && (method.inputs.content_image !== "required" || hasContent);
}
