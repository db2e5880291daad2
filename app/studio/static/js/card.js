// One job on the wall: its picture, or in the same box what there is before it; how it stands; what can be done.

import { read } from "./api.js";
import { deleteJobs } from "./deleting.js";
import { announce, arrange, button, fill, h, icon } from "./dom.js";
import * as jobs from "./jobs.js";
import { pathOf, previewPath, show } from "./pictures.js";
import { standing } from "./words.js";

/** A card. `desk` knows titles and does what is asked: {title(method), open(job, number), again(job), downloadAll(job)}. */
export class Card {
  constructor(desk) {
    this.desk = desk;
    this.images = null;
    this.preview = null;
    this.sharpest = "";
    this.stopping = false;
    this.frame = h("div", { class: "frame" });
    this.pictures = h("div", { class: "openers" });
    this.name = h("h3", { class: "card-name" });
    this.prompt = h("p", { class: "card-prompt" });
    this.state = h("p", { class: "card-state" });
    this.bar = h("progress", { max: 1, "aria-label": "Progress" });
    this.tools = h("div", { class: "card-tools" });
    const caption = h("div", { class: "caption" }, this.name, this.prompt, h("div", { class: "card-foot" }, this.state, this.tools));
    this.stop = button("Cancel", "stop", () => this.#cancel(), { quiet: true });
    this.again = button("Again with this recipe", "again", () => desk.again(this.job), { quiet: true });
    this.save = button("Download", "download", () => desk.downloadAll(this.job), { quiet: true });
    this.gone = button("Delete", "trash", () => deleteJobs(`jobs/${this.job.id}`, [this.job.id], "The picture is deleted."), { quiet: true });
    this.node = h("article", { class: "card", tabindex: -1 }, this.frame, this.bar, caption);
  }

  /** Stand beside others of the same prompt. */
  compact() {
    this.prompt.hidden = true;
    return this;
  }

  /** Say in place of the method's name what sets it apart from those beside it. */
  called(words) {
    this.words = words;
    this.name.textContent = words;
  }

  /** Show a job that is being sent: what it will be is known, its id is not yet. */
  expect(title, prompt, ratio) {
    this.#caption(title, prompt, ratio);
    this.#stands({ title: "Sending", detail: "", fraction: null }, "queued");
  }

  /** Show a job as it is now. */
  update(job) {
    const { recipe } = job;
    this.job = job;
    this.node.dataset.job = job.id;
    this.#caption(this.desk.title(job.method), recipe.prompt, recipe.width / recipe.height);
    this.#stands(standing(job), job.state);
    this.#picture(job);
    this.#offer();
  }

  #caption(title, prompt, ratio) {
    this.name.textContent = this.words || title;
    this.prompt.textContent = prompt || "no prompt";
    this.prompt.title = prompt;
    this.frame.style.setProperty("--ratio", String(ratio));
  }

  #stands({ title, detail, fraction }, state) {
    this.node.dataset.state = state;
    fill(this.state, state === "failed" && icon("warning"), h("strong", {}, title), detail && h("span", {}, ` ${detail}`));
    this.state.title = `${title} ${detail}`.trim();
    if (fraction === null) this.bar.removeAttribute("value");
    else this.bar.value = fraction;
    this.bar.classList.toggle("off", jobs.isFinal({ state }));
  }

  #picture(job) {
    if (job.state === "succeeded" && job.images.length) return this.#finished(job);
    if (job.preview) this.#sharpen(job);
    else if (jobs.isFinal(job)) fill(this.frame, h("span", { class: "nothing" }, job.state === "failed" ? "No picture" : "Canceled"));
  }

  /** Show a preview in the box of the picture, in place of the one before once it is there: nothing moves. */
  #sharpen(job) {
    const path = previewPath(job);
    if (this.sharpest === path) return;
    this.sharpest = path;
    const next = h("img", { class: "preview", alt: `${this.desk.title(job.method)}, being drawn`, decoding: "async" });
    next.style.setProperty("--left", String(1 - (job.progress?.fraction ?? 0)));
    next.addEventListener("load", () => {
      if (this.images || this.sharpest !== path) return;
      this.preview = next;
      fill(this.frame, next);
    });
    show(next, path);
  }

  #finished(job) {
    if (this.images) return;
    this.images = job.images.map((image, n) => this.#opener(job, image, n));
    this.pictures.style.setProperty("--across", String(Math.ceil(Math.sqrt(job.images.length))));
    fill(this.pictures, ...this.images.map(({ opener }) => opener));
    fill(this.frame, this.preview, this.pictures);
    this.images.forEach(({ image }, n) => show(image, pathOf(job, n)));
  }

  #opener(job, { width, height, seed }, n) {
    const which = job.images.length > 1 ? `, picture ${n + 1} of ${job.images.length}, seed ${seed}` : "";
    const words = `${this.desk.title(job.method)}: ${job.recipe.prompt || "no prompt"}${which}`;
    const image = h("img", { alt: words, width, height, loading: "lazy", decoding: "async" });
    const { classList } = this.node;
    image.addEventListener("load", () => {
      classList.remove("late");
      classList.add("loaded");
    });
    image.addEventListener("error", () => classList.add("late"));
    image.addEventListener("gone", () => classList.replace("late", "broken") || classList.add("broken"));
    return { image, opener: h("button", { type: "button", class: "open", "aria-label": `Look at ${words}`, onclick: () => this.desk.open(job.id, n) }, image) };
  }

  /** Show what can be done now. A disabled control would lose the focus: it says that it is, and does nothing. */
  #offer() {
    const { state } = this.job;
    this.stop.ariaDisabled = String(this.stopping || state === "canceling");
    arrange(this.tools, jobs.isFinal(this.job) ? [this.again, state === "succeeded" && this.save, this.gone] : this.stop);
  }

  async #cancel() {
    if (this.stop.ariaDisabled === "true") return;
    this.stopping = true;
    this.#offer();
    try {
      jobs.put(await read(`jobs/${this.job.id}?cancel_only=true`, { method: "DELETE" }));
      announce("Canceled");
    } finally {
      this.stopping = false;
      this.#offer();
    }
  }
}
