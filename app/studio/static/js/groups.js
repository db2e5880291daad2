// Comparisons: jobs that were asked for together stand side by side. Which belong together is kept in this browser; the
// jobs themselves are the service's.

import { read } from "./api.js";
import { announce, arrange, attach, button, h } from "./dom.js";
import { Card } from "./card.js";
import * as jobs from "./jobs.js";
import { keep, kept } from "./keep.js";
import { inputPath, show } from "./pictures.js";
import { moment } from "./words.js";

const KEPT = "comparisons";
const MOST = 100;

/** Return what is known of comparisons, newest first: [{id, jobs}]. */
export function known() {
  try {
    const found = JSON.parse(kept(KEPT) || "[]");
    return Array.isArray(found) ? found : [];
  } catch {
    return []; // not ours
  }
}

/** Remember a comparison as `POST /comparisons` answered it. Returns what is kept of it. */
export function remember(comparison) {
  const entry = { id: comparison.id, jobs: comparison.cells.filter((cell) => cell.job).map((cell) => cell.job.id) };
  keep(KEPT, JSON.stringify([entry, ...known()].slice(0, MOST)));
  return entry;
}

/** A comparison on the wall: a head, and the card of each job. */
export class Group {
  constructor(desk, labels) {
    this.desk = desk;
    this.cards = labels.map((label) => ({ label, card: new Card(desk).compact() }));
    this.references = h("div", { class: "group-references" });
    this.title = h("h3", {});
    this.about = h("p", { class: "aside" });
    this.tools = h("div", { class: "card-tools" });
    this.stop = button("Cancel all", "stop", () => this.#cancel());
    this.sheet = button("Contact sheet", "sheet", () => desk.save(`comparisons/${this.entry.id}/sheet`, `comparison-${this.entry.id.slice(0, 8)}.png`));
    this.cells = h("div", { class: "group-cells" });
    const head = h("div", { class: "group-head" }, this.references, h("div", {}, this.title, this.about), this.tools);
    this.node = h("section", { class: "group", tabindex: -1 }, head, this.cells);
    this.#place();
  }

  /** Show a comparison that is being sent. */
  expect(prompt, ratio) {
    this.title.textContent = prompt || "Comparison";
    this.about.textContent = `${this.cards.length} methods`;
    for (const { label, card } of this.cards) card.expect(label, "", ratio);
  }

  /** Show the comparison that it became: {id, jobs}, in the order of the cards. `shown` are cards that jobs of it have. */
  become(entry, shown = new Map()) {
    this.entry = entry;
    this.cards.forEach((cell, n) => {
      cell.card = shown.get(entry.jobs[n])?.compact() || cell.card;
      cell.card.node.hidden = !cell.card.node.dataset.state && !jobs.get(entry.jobs[n]);
    });
    this.#place();
    this.#draw();
  }

  #place() {
    arrange(this.cells, this.cards.map(({ card }) => card.node));
  }

  /** Show one of its jobs as it is now. */
  update(job) {
    const { card } = this.cards[this.entry.jobs.indexOf(job.id)];
    card.node.hidden = false;
    card.update(job);
    this.#draw();
  }

  #draw() {
    const all = this.entry.jobs.map((id) => jobs.get(id)).filter(Boolean);
    if (!all.length) return;
    const done = all.filter(jobs.isFinal).length;
    const { prompt, seed } = all[0].recipe;
    this.title.textContent = prompt || "Comparison";
    this.about.textContent = `${all.length} methods at seed ${seed} · ${done === all.length ? moment(all[0].created_at) : `${done} of ${all.length} done`}`;
    if (!this.references.childElementCount) this.#refer(all[0].recipe);
    arrange(this.tools, done === this.entry.jobs.length ? this.sheet : this.stop);
  }

  #refer({ style_images: styles = [], content_image: content }) {
    const parts = [...styles.map((sha256) => [sha256, "Style"]), ...(content ? [[content, "Content"]] : [])];
    for (const [sha256, name] of parts) {
      const image = h("img", { alt: `${name} picture`, title: name, width: 44, height: 44, loading: "lazy" });
      show(image, inputPath(sha256));
      attach(this.references, image);
    }
  }

  async #cancel() {
    const now = await read(`comparisons/${this.entry.id}?cancel_only=true`, { method: "DELETE" });
    for (const cell of now.cells) if (cell.job) jobs.put(cell.job);
    announce("All canceled");
  }
}
