// One job at full size: its pictures, its references, its recipe, and what can be done with them. Its address is
// #job=<id>, so it survives a reload.

import { key, read } from "./api.js";
import { announce, button, byId, h, icon } from "./dom.js";
import * as jobs from "./jobs.js";
import { looks } from "./looks.js";
import { inputPath, pathOf, show } from "./pictures.js";
import { copy, curl, python } from "./snippets.js";
import { moment, seconds, total } from "./words.js";

const WAYS = [["alone", "Picture"], ["beside", "Side by side"], ["slider", "Slider"]];

export class Viewer {
  constructor(desk) {
    this.desk = desk;
    this.dialog = byId("viewer");
    this.way = "alone";
    window.addEventListener("hashchange", () => this.follow());
    this.dialog.addEventListener("close", () => {
      if (location.hash.startsWith("#job=")) history.replaceState(null, "", location.pathname + location.search);
    });
    this.dialog.addEventListener("keydown", (event) => this.#keyed(event));
    this.dialog.addEventListener("click", (event) => event.target === this.dialog && this.dialog.close());
  }

  /** Open the job that the address names, if any. */
  async follow() {
    const id = new URLSearchParams(location.hash.slice(1)).get("job");
    if (!id) return this.dialog.close();
    this.open(jobs.get(id) || jobs.put(await read(`jobs/${encodeURIComponent(id)}`)));
  }

  /** Show a job. */
  open(job) {
    if (!job.images.length) return;
    this.job = job;
    this.number = 0;
    this.reference = this.#references()[0];
    this.#draw();
    if (!this.dialog.open) this.dialog.showModal();
  }

  #references() {
    const { style_images: styles = [], content_image: content, control_image: control } = this.job.recipe;
    const named = styles.map((sha256, n) => ({ sha256, name: styles.length > 1 ? `Reference ${n + 1}` : "Reference" }));
    if (content) named.push({ sha256: content, name: "Content" });
    if (control) named.push({ sha256: control, name: "Control" });
    return named;
  }

  #draw() {
    const { job } = this;
    const title = h("h2", { id: "viewer-title" }, this.desk.title(job.method));
    const close = button("Close", "close", () => this.dialog.close(), { quiet: true });
    const previous = button("Newer picture", "left", () => this.step(-1), { quiet: true });
    const next = button("Older picture", "right", () => this.step(1), { quiet: true });
    this.stage = h("div", { class: "viewer-stage" });
    this.ways = h("div", { class: "segments", role: "radiogroup", "aria-label": "Way to look" }, ...WAYS.map((way) => this.#way(way)));
    this.dialog.replaceChildren(
      h("header", { class: "viewer-head" }, title, h("div", { class: "row" }, previous, next, close)),
      h("div", { class: "viewer-body" }, h("div", { class: "viewer-main" }, this.ways, this.stage, this.#strip()), this.#side()),
    );
    this.#look();
  }

  #way([value, text]) {
    const input = h("input", { type: "radio", name: "way", value, checked: value === this.way, disabled: value !== "alone" && !this.reference });
    input.addEventListener("change", () => {
      this.way = value;
      this.#look();
    });
    return h("label", {}, input, h("span", {}, text));
  }

  #look() {
    const way = this.reference ? this.way : "alone";
    const given = {
      picture: pathOf(this.job, this.number),
      reference: this.reference && inputPath(this.reference.sha256),
      name: this.reference?.name,
      words: `${this.desk.title(this.job.method)}: ${this.job.recipe.prompt || "no prompt"}`,
    };
    const { width, height } = this.job.images[this.number];
    this.stage.style.setProperty("--ratio", String(width / height));
    this.stage.replaceChildren(looks(given)[way]());
  }

  /** Return the strip of the job's pictures and of its references. */
  #strip() {
    const pictures = this.job.images.length > 1 ? this.job.images.map((_, n) => this.#thumb(pathOf(this.job, n), `Picture ${n + 1}`, () => (this.number = n), this.number === n)) : [];
    const references = this.#references();
    const choices = references.map((one) => this.#thumb(inputPath(one.sha256), one.name, () => (this.reference = one), this.reference.sha256 === one.sha256));
    return h("div", { class: "strip" }, ...pictures, ...choices);
  }

  #thumb(path, name, act, pressed) {
    const image = h("img", { alt: "", width: 52, height: 52, loading: "lazy" });
    show(image, path);
    const onclick = () => {
      act();
      const [before, after] = [thumb.parentElement, this.#strip()];
      const place = [...before.children].indexOf(thumb);
      before.replaceWith(after);
      after.children[place].focus();
      this.#look();
    };
    const thumb = h("button", { type: "button", class: "swatch", "aria-pressed": pressed, onclick }, image, h("span", {}, name));
    return thumb;
  }

  #side() {
    const { job } = this;
    const { recipe } = job;
    const facts = [
      ["Prompt", recipe.prompt || "none"],
      ["Negative prompt", recipe.negative_prompt],
      ["Seed", String(job.images[this.number].seed)],
      ["Strength", String(recipe.strength)],
      ["Steps", `${recipe.steps}, guidance ${recipe.guidance_scale}`],
      ["Size", `${recipe.width} × ${recipe.height}`],
      ["Model", job.model],
      ["Made", `${moment(job.created_at)} in ${seconds(total(job.timings))}`],
    ];
    const list = h("dl", { class: "facts" }, ...facts.filter(([, value]) => value).flatMap(([name, value]) => [h("dt", {}, name), h("dd", {}, value)]));
    const act = (then) => () => {
      this.dialog.close();
      then();
    };
    return h(
      "aside",
      { class: "viewer-side", "aria-label": "Recipe" },
      list,
      h(
        "div",
        { class: "stack" },
        button("Again with this recipe", "again", act(() => this.desk.again(job)), { kind: "primary" }),
        button("Keep this seed", "lock", act(() => this.desk.keepSeed(job.images[this.number].seed)), { kind: "secondary" }),
        button("Download", "download", () => this.desk.download(job, this.number), { kind: "secondary" }),
        this.#copier("Copy as curl", () => curl(job, Boolean(key()))),
        this.#copier("Copy as Python", () => python(job, Boolean(key()))),
      ),
    );
  }

  #copier(name, text) {
    const made = button(name, "copy", async () => {
      const done = await copy(text());
      made.replaceChildren(icon(done ? "check" : "warning"), h("span", {}, done ? "Copied" : "This browser does not let pages copy"));
      announce(done ? "Copied" : "Could not copy");
      setTimeout(() => made.replaceChildren(icon("copy"), h("span", {}, name)), 1600);
    }, { kind: "secondary" });
    return made;
  }

  /** Go to the next finished job in a direction. */
  step(direction) {
    const finished = jobs.all().filter((job) => job.images.length);
    const next = finished[finished.findIndex((job) => job.id === this.job.id) + direction];
    if (next) this.desk.open(next.id);
  }

  #keyed(event) {
    if (event.target.matches("input, textarea, select, .stage")) return;
    if (event.key === "ArrowLeft") this.step(-1);
    if (event.key === "ArrowRight") this.step(1);
  }
}
