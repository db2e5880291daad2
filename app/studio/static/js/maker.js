// The form: what is wanted, gathered from its parts, and sent.

import { Away, identity, post, Problem, stringify } from "./api.js";
import { arrange, byId, fill, h, hide, icon } from "./dom.js";
import { dropzone } from "./dropzone.js";
import { Methods } from "./methods.js";
import { Picked } from "./picked.js";
import { clear, show } from "./problems.js";
import { Knobs } from "./schema.js";
import { Seed } from "./seed.js";
import { Settings } from "./settings.js";
import { shelf, styleActions } from "./shelf.js";

const MOST_STYLES = 4;
const ONE_LINE = /\s*\n\s*/g;

export class Maker {
  /** `examples` may be filled later; `reload` asks anew for what the service offers. */
  constructor(gallery, examples, reload) {
    this.gallery = gallery;
    this.reload = reload;
    this.offered = [];
    this.form = byId("maker");
    this.refusal = byId("refusal");
    this.prompt = byId("prompt");
    this.knobs = new Map();
    this.lost = null; // what was sent when nobody answered: sent again unchanged, it counts once
    this.touched = false; // the strength, which is the method's own until then
    this.repeated = ""; // the method of the recipe that the form was filled with: strength, steps and guidance are for it
    this.style = new Picked(MOST_STYLES, () => this.#drawStyle());
    this.content = new Picked(1, () => this.#drawContent());
    this.control = new Picked(1, () => this.controlZone.draw());
    this.seed = new Seed();
    this.settings = new Settings(byId("settings-body"), () => this.offer(this.offered));
    this.styleZone = dropzone(byId("style-drop"), this.style, "style pictures");
    this.contentZone = dropzone(byId("content-drop"), this.content, "a content picture");
    this.controlZone = dropzone(byId("control-drop"), this.control, "a control picture");
    this.styleActions = styleActions(byId("style-actions"), this.style, () => this.styleShelf.reload());
    this.styleShelf = shelf(byId("style-shelf"), this.style, () => examples.styles, { withStyles: true });
    this.contentShelf = shelf(byId("content-shelf"), this.content, () => examples.contents);
    this.methods = new Methods(byId("methods"), () => examples.methods, () => this.#chosen());
    this.#listen();
    this.drawShelves();
    this.#chosen();
  }

  /** Show the examples and saved styles that there are now. */
  drawShelves() {
    this.#drawStyle();
    this.contentShelf.draw();
  }

  /** Show what the service offers now. */
  offer(methods, models = this.settings.models) {
    this.offered = methods;
    this.settings.offer(models);
    this.methods.draw(methods, this.settings.model);
  }

  /** Take a job's recipe, its seed and pictures included. `files` are its pictures by field. */
  take(recipe, files) {
    byId("maker").elements.mode.value = "one";
    this.methods.allow(false);
    this.settings.write(recipe);
    this.methods.draw(this.offered, this.settings.model);
    this.methods.choose([recipe.method]);
    this.prompt.value = recipe.prompt;
    this.style.replace(files.style_image);
    this.style.items.forEach((item, n) => {
      item.weight = recipe.style_weights[n] === 1 ? "" : String(recipe.style_weights[n]);
    });
    this.content.replace(files.content_image);
    this.control.replace(files.control_image);
    this.styleZone.draw();
    this.seed.lock(recipe.seed);
    this.repeated = recipe.method;
    this.#strength(recipe.strength);
    this.knobs.get(recipe.method)?.write(recipe.params);
    this.#chosen();
  }

  #listen() {
    for (const kind of ["input", "change"]) this.form.addEventListener(kind, () => (this.lost = null));
    this.form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.send();
    });
    this.form.addEventListener("keydown", (event) => {
      const plain = event.key === "Enter" && event.target.matches("input:not([type=file], [type=checkbox], [type=radio])");
      if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) this.send();
      else if (!plain) return;
      event.preventDefault();
    });
    for (const input of this.form.elements.mode) input.addEventListener("change", () => this.methods.allow(input.value === "several"));
    byId("all-methods").addEventListener("click", () => this.methods.chooseFitting(this.style.count, this.content.count > 0));
    byId("strength").addEventListener("input", () => {
      this.repeated = "";
      this.#strength(Number(byId("strength").value));
    });
    byId("strength-own").addEventListener("click", () => this.#ownStrength());
  }

  #strength(value) {
    this.touched = true;
    byId("strength").value = value;
    byId("strength-value").textContent = value.toFixed(2);
    hide(byId("strength-own"), false);
  }

  /** Let each method have its own strength. */
  #ownStrength() {
    this.touched = false;
    this.repeated = "";
    byId("strength").focus();
    this.#preset();
  }

  #drawStyle() {
    this.lost = null;
    this.styleZone?.draw();
    this.styleShelf?.draw();
    this.styleActions?.draw();
  }

  #drawContent() {
    this.lost = null;
    this.contentZone?.draw();
    this.contentShelf?.draw();
  }

  /** Fit the form to the chosen methods. */
  #chosen() {
    const chosen = this.methods.chosen();
    const [first] = chosen;
    const needs = chosen.map(({ inputs }) => inputs.content_image);
    hide(byId("all-methods"), !this.methods.several);
    hide(byId("content-field"), needs.every((need) => need === "none"));
    byId("content-aside").textContent = needs.includes("required") ? "to repaint, required" : "to repaint, optional";
    const controls = [...new Set(chosen.flatMap(({ inputs }) => inputs.controls))];
    hide(byId("control-field"), !controls.length);
    byId("control-hint").textContent = `Shapes the picture. Say in the knobs what it is: ${controls.join(", ")}.`;
    this.settings.hint(first);
    if (this.repeated && first && first.name !== this.repeated) {
      this.settings.letGo();
      this.touched = false;
      this.repeated = "";
    }
    this.#preset();
    this.#drawKnobs(chosen);
    const several = this.methods.several;
    byId("submit").textContent = !several ? "Make the picture" : `Compare ${chosen.length} methods`;
    byId("submit").disabled = several && !chosen.length;
  }

  /** Show the strength that the chosen methods have while nobody sets one; several may differ. */
  #preset() {
    hide(byId("strength-own"), !this.touched, byId("strength"));
    if (this.touched) return;
    const own = [...new Set(this.methods.chosen().map(({ defaults }) => defaults[this.settings.base]?.strength ?? 1))];
    byId("strength").value = own[0] ?? 1;
    byId("strength-value").textContent = own.length > 1 ? `each its own: ${own.map((one) => one.toFixed(2)).join(", ")}` : (own[0] ?? 1).toFixed(2);
  }

  #drawKnobs(chosen) {
    const panels = chosen.map((method) => {
      if (!this.knobs.has(method.name)) this.knobs.set(method.name, new Knobs(method));
      const knobs = this.knobs.get(method.name);
      knobs.panel ??= h(
        "details",
        { class: "fold", "data-method": method.name },
        h("summary", {}, `Knobs of ${method.title}`),
        h("div", { class: "fold-body" }, h("p", { class: "hint" }, `Strength: ${method.strength}`), ...knobs.fields()),
      );
      return knobs.panel;
    });
    arrange(byId("knobs"), panels);
  }

  /** Send what is wanted; while it travels its place on the wall is there. */
  async send() {
    if (byId("submit").ariaBusy === "true") return;
    if (!this.offered.length) return this.reload();
    clear(this.form, this.refusal);
    const several = this.methods.several && this.methods.chosen().length > 1;
    const expected = this.#expect(several);
    const sent = this.lost || { once: identity(), seed: this.seed.next() };
    byId("submit").ariaBusy = "true";
    try {
      expected.done(await post(several ? "comparisons" : "stylize", this.#filled(several, sent.seed), sent.once));
      this.lost = null;
    } catch (fault) {
      expected.gone();
      this.lost = fault instanceof Away ? sent : null;
      this.#refused(fault);
    } finally {
      byId("submit").ariaBusy = "false";
    }
  }

  #refused(fault) {
    if (fault instanceof Problem) return show(fault, this.form, this.refusal);
    if (!(fault instanceof Away)) throw fault;
    fill(this.refusal, icon("warning"), h("div", {}, h("strong", {}, "Not sent"), h("p", {}, "The gateway does not answer. Nothing is lost: send again once it is back.")));
    this.refusal.hidden = false;
  }

  #expect(several) {
    const prompt = this.prompt.value.trim();
    const { width, height } = this.settings.entries;
    const ratio = Number(width.value) / Number(height.value) || 1;
    const titles = this.methods.chosen().map((method) => method.title);
    return several ? this.gallery.expectGroup(titles, prompt, ratio) : this.gallery.expectJob(titles[0] || "Picture", prompt, ratio);
  }

  #filled(several, seed) {
    const form = new FormData();
    const chosen = this.methods.chosen();
    for (const method of chosen) form.append("method", method.name);
    form.append("prompt", this.prompt.value.replace(ONE_LINE, " ").trim());
    form.append("seed", seed);
    if (this.touched) form.append("strength", byId("strength").value);
    this.settings.fill(form);
    this.style.fill(form, "style_image");
    if (!byId("content-field").hidden) this.content.fill(form, "content_image");
    if (!byId("control-field").hidden) this.control.fill(form, "control_image");
    const params = chosen.map((method) => [method.name, this.knobs.get(method.name).read()]).filter(([, set]) => Object.keys(set).length);
    if (params.length) form.append("params", stringify(several ? Object.fromEntries(params) : params[0][1]));
    return form;
  }
}
