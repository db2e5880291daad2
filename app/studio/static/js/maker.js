// The form: what is wanted, gathered from its parts, and sent.

import { Away, identity, post, Problem, stringify } from "./api.js";
import { arrange, byId, fill, h, hide, icon } from "./dom.js";
import { dropzone } from "./dropzone.js";
import { faultsOf, tooMany, wanted } from "./checks.js";
import { Mask } from "./mask.js";
import { Methods } from "./methods.js";
import { Picked } from "./picked.js";
import { clear, show } from "./problems.js";
import { Prompt } from "./prompt.js";
import { Knobs } from "./schema.js";
import { Seed } from "./seed.js";
import { Settings } from "./settings.js";
import { shelf, styleActions } from "./shelf.js";
import { preset, Strength } from "./strength.js";
import { Variants } from "./variants.js";

const MOST_STYLES = 4;

export class Maker {
  /** `examples` may be filled later; `reload` asks anew for what the service offers. */
  constructor(gallery, examples, reload) {
    this.gallery = gallery;
    this.reload = reload;
    this.offered = [];
    this.form = byId("maker");
    this.refusal = byId("refusal");
    this.prompt = new Prompt();
    this.knobs = new Map();
    this.lost = null; // what was sent when nobody answered: sent again unchanged, it counts once
    this.strength = new Strength(() => this.settings.letGo());
    this.style = new Picked(MOST_STYLES, () => this.#drawStyle());
    this.content = new Picked(1, () => this.#drawContent());
    this.mask = new Mask(this.content, () => this.#changed());
    this.control = new Picked(1, () => {
      this.#changed();
      this.controlZone.draw();
    });
    this.seed = new Seed();
    this.variants = new Variants(() => this.#chosen());
    this.settings = new Settings(byId("settings-body"), () => this.offer(this.offered));
    this.styleZone = dropzone(byId("style-drop"), this.style, "style pictures");
    this.contentZone = dropzone(byId("content-drop"), this.content, "a content picture");
    this.controlZone = dropzone(byId("control-drop"), this.control, "a control picture");
    this.styleShelf = shelf(byId("style-shelf"), this.style, () => examples.styles, { withStyles: true });
    this.styleActions = styleActions(byId("style-actions"), this.style, this.styleShelf);
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
    this.prompt.fit(this.settings.chosen);
  }

  /** Take a job's recipe, its seed and pictures included. `files` are its pictures by field. */
  take(recipe, files) {
    this.strength.set(null);
    byId("maker").elements.mode.value = "one";
    this.#allow(false);
    this.settings.write(recipe);
    this.methods.draw(this.offered, this.settings.model);
    this.methods.choose([recipe.method]);
    this.prompt.write(recipe.prompt);
    this.style.replace(files.style_image);
    this.style.items.forEach((item, n) => {
      item.weight = recipe.style_weights[n] === 1 ? "" : String(recipe.style_weights[n]);
    });
    this.content.replace(files.content_image);
    this.control.replace(files.control_image);
    this.mask.picked.replace(files.mask_image);
    this.styleZone.draw();
    this.seed.lock(recipe.seed);
    this.strength.set(recipe.strength, recipe.method);
    this.knobs.get(recipe.method)?.write(recipe.params);
    this.#chosen();
    this.#changed();
  }

  /** Choose methods, in a way to choose, and a strength; null is each method's own. */
  choose(names, mode, strength) {
    this.form.elements.mode.value = mode;
    this.#allow(mode === "several");
    this.methods.draw(this.offered, this.settings.model);
    this.methods.choose(names);
    this.strength.set(strength);
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
    for (const input of this.form.elements.mode) input.addEventListener("change", () => this.#allow(input.value === "several"));
    byId("all-methods").addEventListener("click", () => this.methods.chooseFitting(this.style.count, this.content.count > 0));
  }

  /** Let one method be chosen, or several. */
  #allow(several) {
    hide(byId("variants"), !several);
    this.methods.allow(several);
  }

  /** What is sent next is another request, and to be kept. */
  #changed() {
    this.lost = null;
    this.form.dispatchEvent(new Event("entered"));
  }

  #drawStyle() {
    this.#changed();
    this.styleZone?.draw();
    this.styleShelf?.draw();
    this.styleActions?.draw();
    this.#count();
  }

  /** Say how many style pictures the chosen methods take. */
  #count() {
    const chosen = this.methods?.chosen() ?? [];
    byId("style-aside").textContent = wanted(chosen);
    byId("style-aside").classList.toggle("warn", tooMany(chosen, this.style.count));
  }

  #drawContent() {
    this.#changed();
    this.contentZone?.draw();
    this.contentShelf?.draw();
    this.mask.drawContent();
  }

  /** Fit the form to the chosen methods. */
  #chosen() {
    const chosen = this.methods.chosen();
    const [first] = chosen;
    const needs = chosen.map(({ inputs }) => inputs.content_image);
    hide(byId("all-methods"), !this.methods.several);
    hide(byId("content-field"), needs.every((need) => need === "none"));
    byId("content-aside").textContent = needs.includes("required") ? "to repaint, required" : "to repaint, optional";
    this.mask.fit(chosen);
    const controls = [...new Set(chosen.flatMap(({ inputs }) => inputs.controls))];
    hide(byId("control-field"), !controls.length);
    byId("control-hint").textContent = `Shapes the picture. Say in the knobs what it is, or what is made of a photograph: ${controls.join(", ")}.`;
    this.settings.hint(first);
    this.#count();
    this.strength.fit(chosen, this.settings.base);
    this.#drawKnobs(chosen);
    const several = this.methods.several;
    byId("submit").textContent = several ? `Compare ${this.#extent(chosen.length)}` : "Make the picture";
    byId("submit").disabled = several && !chosen.length;
  }

  #drawKnobs(chosen) {
    const panels = chosen.map((method) => {
      if (!this.knobs.has(method.name)) this.knobs.set(method.name, new Knobs(method));
      const knobs = this.knobs.get(method.name);
      knobs.panel ??= h(
        "details",
        { class: "fold", "data-method": method.name },
        h("summary", {}, `Knobs of ${method.title}`),
        h("div", { class: "fold-body" }, knobs.fields(), h("p", { class: "hint" }, `Strength: ${method.strength}`.replaceAll("`", ""))),
      );
      return knobs.panel;
    });
    arrange(byId("knobs"), panels);
  }

  /** Return in words how much is compared. */
  #extent(methods) {
    const count = (number, what) => `${number} ${what}${number === 1 ? "" : "s"}`;
    const [seeds, strengths] = [this.variants.seeds("0").length, this.variants.strengths().length];
    return [count(methods, "method"), strengths > 1 && count(strengths, "strength"), seeds > 1 && count(seeds, "seed")].filter(Boolean).join(" × ");
  }

  /** Return what is compared: {method, strength, seed}, in the order of the service. */
  #cells(seed) {
    const strengths = this.variants.strengths();
    return this.methods.chosen().flatMap((method) => {
      const own = strengths.length ? strengths : [this.strength.value ?? preset(method, this.settings.base)];
      return own.flatMap((strength) => this.variants.seeds(seed).map((one) => ({ method: method.name, strength, seed: one })));
    });
  }

  /** Send what is wanted; while it travels its place on the wall is there. */
  async send() {
    if (byId("submit").ariaBusy === "true") return;
    if (!this.offered.length) return this.reload();
    byId("submit").ariaBusy = "true";
    let expected = null;
    let sent = null;
    try {
      if (await this.#refusals()) return;
      clear(this.form, this.refusal);
      const errors = this.#faults();
      if (errors.length) return show({ title: "Not sent", errors }, this.form, this.refusal);
      sent = this.lost || { once: identity(), seed: this.seed.next() };
      const cells = this.#cells(sent.seed);
      const several = cells.length > 1;
      expected = this.#expect(several && cells);
      expected.done(await post(several ? "comparisons" : "stylize", this.#filled(several, sent.seed), sent.once));
      this.lost = null;
    } catch (fault) {
      expected?.gone();
      this.lost = fault instanceof Away ? sent : null;
      this.#refused(fault);
    } finally {
      byId("submit").ariaBusy = "false";
    }
  }

  /** Return whether one of the files that are still looked at turns out to be no picture. */
  async #refusals() {
    const all = [this.style, this.content, this.control, this.mask.picked];
    const count = () => all.reduce((sum, { refusals }) => sum + refusals, 0);
    const before = count();
    await Promise.all(all.map(({ checked }) => checked));
    return count() > before;
  }

  #faults() {
    const methods = this.methods.chosen();
    const params = Object.fromEntries(methods.map(({ name }) => [name, this.knobs.get(name).read()]));
    const hasContent = this.content.count > 0;
    const faults = faultsOf({ methods, prompt: this.prompt.text, styles: this.style.count, hasContent, params });
    const refused = faults.some(({ pointer }) => pointer === "#/style_image") && this.style.refused;
    return refused ? [{ pointer: "#/style_image", detail: refused }, ...faults] : faults;
  }

  #refused(fault) {
    if (fault instanceof Problem) return show(fault, this.form, this.refusal);
    if (!(fault instanceof Away)) throw fault;
    fill(this.refusal, icon("warning"), h("div", {}, h("strong", {}, "Not sent"), h("p", {}, "The gateway does not answer. Nothing is lost: send again once it is back.")));
    this.refusal.hidden = false;
  }

  #expect(cells) {
    const prompt = this.prompt.text;
    const { width, height } = this.settings.entries;
    const ratio = Number(width.value) / Number(height.value) || 1;
    return cells ? this.gallery.expectGroup(cells, prompt, ratio) : this.gallery.expectJob(this.methods.chosen()[0].title, prompt, ratio);
  }

  #filled(several, seed) {
    const form = new FormData();
    const chosen = this.methods.chosen();
    for (const method of chosen) form.append("method", method.name);
    form.append("prompt", this.prompt.text);
    for (const one of this.variants.seeds(seed)) form.append("seed", one);
    const strengths = this.variants.strengths();
    for (const one of strengths) form.append("strength", one);
    if (this.strength.value !== null && !strengths.length) form.append("strength", String(this.strength.value));
    this.settings.fill(form);
    this.style.fill(form, "style_image");
    if (!byId("content-field").hidden) this.content.fill(form, "content_image");
    if (!byId("control-field").hidden) this.control.fill(form, "control_image");
    this.mask.fill(form);
    const params = chosen.map((method) => [method.name, this.knobs.get(method.name).read()]).filter(([, set]) => Object.keys(set).length);
    if (params.length) form.append("params", stringify(several ? Object.fromEntries(params) : params[0][1]));
    return form;
  }
}
