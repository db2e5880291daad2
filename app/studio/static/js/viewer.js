// One job at full size: its pictures, its references, its recipe, and what can be done with them. Its address is
// #job=<id>, so it survives a reload.

import { key, Problem, read } from "./api.js";
import { deleteJobs } from "./deleting.js";
import { announce, arrange, button, byId, fill, h, icon, keyedList } from "./dom.js";
import { follow } from "./follow.js";
import * as jobs from "./jobs.js";
import { looks } from "./looks.js";
import { notice } from "./notice.js";
import { controlMapPath, inputPath, pathOf, show } from "./pictures.js";
import { copy, curl, python } from "./snippets.js";
import { date, moment, seconds, total } from "./words.js";

const WAYS = [["alone", "Picture"], ["beside", "Side by side"], ["slider", "Slider"]];

const forget = () => location.hash.startsWith("#job=") && history.replaceState(null, "", location.pathname + location.search);

export class Viewer {
  constructor(desk) {
    this.desk = desk;
    this.dialog = byId("viewer");
    this.way = "alone";
    this.#build();
    window.addEventListener("hashchange", () => this.follow());
    this.dialog.addEventListener("close", () => {
      forget();
    });
    jobs.subscribe((job) => job && job.id === this.awaited && jobs.isFinal(job) && this.follow());
    this.dialog.addEventListener("keydown", (event) => this.#keyed(event));
    this.dialog.addEventListener("click", (event) => event.target === this.dialog && this.dialog.close());
  }

  /** Open the job that the address names, if any; one line says why when it cannot be shown. */
  async follow() {
    const named = new URLSearchParams(location.hash.slice(1));
    const id = named.get("job");
    this.awaited = null;
    if (!id) return this.dialog.close();
    try {
      this.open(jobs.get(id) || jobs.put(await read(`jobs/${encodeURIComponent(id)}`)), Number(named.get("picture")));
    } catch (fault) {
      if (!(fault instanceof Problem)) throw fault;
      const lost = [404, 410, 422].includes(fault.status);
      this.#refuse(lost ? "This picture is no longer kept, or it belongs to another key." : `The picture cannot be shown: ${fault.message}.`);
    }
  }

  #refuse(text) {
    notice(text);
    this.dialog.close();
    forget();
  }

  /** Show a picture of a job. */
  open(job, number = 0) {
    if (!job.images.length) return this.#wait(job);
    this.job = job;
    this.number = job.images[number] ? number : 0;
    this.reference = this.#references()[0];
    this.#draw();
    if (!this.dialog.open) this.dialog.showModal();
  }

  /** Say of a job without a picture why there is none; one that is being made is shown once it is there. */
  #wait(job) {
    if (job.state === "failed") return this.#refuse(`There is no picture: the job failed. ${job.error?.detail || ""}`);
    if (jobs.isFinal(job)) return this.#refuse("There is no picture: the job was canceled.");
    this.awaited = job.id;
    follow(job);
    notice("This picture is still being made; it opens once it is there.");
  }

  #references() {
    const { style_images: styles = [], content_image: content, control_image: control, mask_image: mask } = this.job.recipe;
    const named = styles.map((sha256, n) => [sha256, styles.length > 1 ? `Reference ${n + 1}` : "Reference"]);
    named.push([content, "Content"], [control, "Control"], [mask, "Mask"]);
    const references = named.filter(([sha256]) => sha256).map(([sha256, name]) => ({ path: inputPath(sha256), name }));
    return this.job.control_map ? [...references, { path: controlMapPath(this.job), name: "Map made" }] : references;
  }

  /** Make the dialog once: what a step to another job changes changes in place. */
  #build() {
    this.title = h("h2", { id: "viewer-title" });
    const previous = button("Newer picture", "left", () => this.step(-1), { quiet: true });
    const next = button("Older picture", "right", () => this.step(1), { quiet: true });
    const close = button("Close", "close", () => this.dialog.close(), { quiet: true });
    this.looks = looks();
    this.stage = h("div", { class: "viewer-stage", tabindex: -1 });
    this.ways = WAYS.map(([value]) => h("input", { type: "radio", name: "way", value, onchange: () => this.#take(value) }));
    const ways = this.ways.map((input, n) => h("label", {}, input, h("span", {}, WAYS[n][1])));
    const strip = h("div", { class: "strip", tabindex: -1 });
    this.thumbs = keyedList(strip, (one) => `${one.path} ${one.name}`, (one) => this.#thumb(one));
    this.facts = h("dl", { class: "facts" });
    fill(
      this.dialog,
      h("header", { class: "viewer-head" }, this.title, h("div", { class: "row" }, previous, next, close)),
      h(
        "div",
        { class: "viewer-body" },
        h("div", { class: "viewer-main" }, h("div", { class: "segments", role: "radiogroup", "aria-label": "Way to look" }, ...ways), this.stage, strip),
        h("aside", { class: "viewer-side", "aria-label": "Recipe" }, this.facts, this.#actions()),
      ),
    );
  }

  #actions() {
    const act = (then) => () => {
      this.dialog.close();
      then();
    };
    return h(
      "div",
      { class: "stack" },
      button("Again with this recipe", "again", act(() => this.desk.again(this.job)), { kind: "primary" }),
      button("Keep this seed", "lock", act(() => this.desk.keepSeed(this.job.images[this.number].seed)), { kind: "secondary" }),
      button("Download", "download", () => this.desk.download(this.job, this.number), { kind: "secondary" }),
      button("Delete", "trash", act(() => deleteJobs(`jobs/${this.job.id}`, [this.job.id], "The picture is deleted.")), { kind: "secondary" }),
      this.#copier("Copy as curl", () => curl(this.job, Boolean(key()))),
      this.#copier("Copy as Python", () => python(this.job, Boolean(key()))),
    );
  }

  #draw() {
    this.title.textContent = this.desk.title(this.job.method);
    for (const input of this.ways) {
      input.checked = input.value === this.way;
      input.disabled = input.value !== "alone" && !this.reference;
    }
    this.#look();
  }

  #take(way) {
    this.way = way;
    this.#look();
  }

  /** Show the picture, and which picture and reference it is. */
  #look() {
    this.#tell();
    this.thumbs(this.#strip());
    const look = this.looks[this.reference ? this.way : "alone"];
    look.update({
      picture: pathOf(this.job, this.number),
      reference: this.reference?.path,
      name: this.reference?.name,
      words: `${this.desk.title(this.job.method)}: ${this.job.recipe.prompt || "no prompt"}`,
    });
    const { width, height } = this.job.images[this.number];
    this.stage.style.setProperty("--ratio", String(width / height));
    arrange(this.stage, look.node);
  }

  /** Return what the strip shows: the job's pictures, when there are several, and its references. */
  #strip() {
    const several = this.job.images.length > 1 ? this.job.images : [];
    const pictures = several.map((_, n) => ({ path: pathOf(this.job, n), name: `Picture ${n + 1}`, pressed: this.number === n, act: () => (this.number = n) }));
    const references = this.#references().map((one) => ({ ...one, pressed: this.reference.name === one.name, act: () => (this.reference = one) }));
    return [...pictures, ...references];
  }

  #thumb({ path, name }) {
    const image = h("img", { alt: "", width: 52, height: 52, loading: "lazy" });
    show(image, path);
    let current;
    const onclick = () => {
      current.act();
      this.#look();
    };
    const node = h("button", { type: "button", class: "swatch", onclick }, image, h("span", {}, name));
    const update = (one) => {
      current = one;
      node.ariaPressed = String(one.pressed);
    };
    return { node, update };
  }

  /** Show the recipe. */
  #tell() {
    const { job } = this;
    const { recipe } = job;
    const facts = [
      ["Prompt", recipe.prompt || "none"],
      ["Negative prompt", recipe.negative_prompt],
      ["Note", (job.warnings ?? []).join("; ")],
      ["Seed", String(job.images[this.number].seed)],
      ["Strength", String(recipe.strength)],
      ["Steps", `${recipe.steps}, guidance ${recipe.guidance_scale}`],
      ["Size", `${recipe.width} × ${recipe.height}`],
      ["Model", job.model],
      ["Made", `${moment(job.created_at)} in ${seconds(total(job.timings))}`],
      ["Kept until", job.expires_at && date(job.expires_at)],
    ];
    fill(this.facts, ...facts.filter(([, value]) => value).flatMap(([name, value]) => [h("dt", {}, name), h("dd", {}, value)]));
  }

  #copier(name, text) {
    const made = button(name, "copy", async () => {
      const done = await copy(text());
      fill(made, icon(done ? "check" : "warning"), h("span", {}, done ? "Copied" : "This browser does not let pages copy"));
      announce(done ? "Copied" : "Could not copy");
      setTimeout(() => fill(made, icon("copy"), h("span", {}, name)), 1600);
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
