// Comparisons: jobs that were asked for together stand side by side, a row for each method, a column for each seed and
// strength.

import { read } from "./api.js";
import { announce, arrange, attach, button, h } from "./dom.js";
import { Card } from "./card.js";
import { deleteJobs } from "./deleting.js";
import * as jobs from "./jobs.js";
import { inputPath, show } from "./pictures.js";
import { moment } from "./words.js";

/** Return what a list tells of a comparison that `POST /comparisons` answered or `GET /comparisons/{id}` showed. */
export const summary = (comparison) => ({ ...comparison, cells: comparison.cells.map((cell) => ({ ...cell, job: cell.job?.id ?? null })) });

/** A comparison on the wall: a head, and the card of each job. `cells` are {method, seed, strength}, in the service's order. */
export class Group {
  constructor(desk, cells) {
    this.desk = desk;
    this.slots = cells.map((cell) => ({ cell, card: new Card(desk).compact(), hole: h("div", { class: "hole" }) }));
    this.references = h("div", { class: "group-references" });
    this.title = h("h3", {});
    this.about = h("p", { class: "aside" });
    this.tools = h("div", { class: "card-tools" });
    this.stop = button("Cancel all", "stop", () => this.#cancel());
    this.sheet = button("Contact sheet", "sheet", () => desk.save(`${this.path}/sheet`, `comparison-${this.id.slice(0, 8)}.png`));
    this.zip = button("Download all", "download", () => desk.save(`${this.path}/zip`, `comparison-${this.id.slice(0, 8)}.zip`));
    this.gone = button("Delete all", "trash", () => this.#delete(), { quiet: true });
    this.cells = h("div", { class: "group-cells" });
    const head = h("div", { class: "group-head" }, this.references, h("div", {}, this.title, this.about), this.tools);
    this.node = h("section", { class: "group", tabindex: -1 }, head, this.cells);
    this.#lay();
  }

  /** Show a comparison that is being sent. */
  expect(prompt, ratio) {
    this.title.textContent = prompt || "Comparison";
    this.about.textContent = `${this.slots.length} jobs`;
    for (const { cell, card } of this.slots) card.expect(this.desk.title(cell.method), "", ratio);
    this.#lay();
  }

  /** Show the comparison that it became, as a list tells it. `shown` are cards that jobs of it have, by id. */
  become({ id, cells }, shown = new Map()) {
    this.id = id;
    this.path = `comparisons/${id}`;
    this.slots.forEach((slot, n) => {
      slot.cell = cells[n];
      slot.card = shown.get(cells[n].job)?.compact() || slot.card;
    });
    this.#lay();
    this.#draw();
  }

  /** Show one of its jobs as it is now. */
  update(job) {
    const slot = this.#slotOf(job.id);
    const first = !slot.card.job;
    slot.card.update(job);
    if (first || slot.hidden) {
      slot.hidden = false;
      this.#lay();
    }
    this.#draw();
  }

  /** Show one of its jobs no longer. Returns whether none is left. */
  remove(job) {
    const slot = this.#slotOf(job.id);
    slot.hidden = true;
    this.#lay();
    this.#draw();
    return this.slots.every(({ card, hidden }) => hidden || !card.job);
  }

  #slotOf(id) {
    return this.slots.find(({ cell }) => cell.job === id);
  }

  /** Lay the cards out: those of one method in a row, as soon as a method has several. */
  #lay() {
    const rows = Map.groupBy(this.slots, ({ cell }) => cell.method);
    const columns = Math.max(...[...rows.values()].map((row) => row.length));
    const nodes = [...rows].flatMap(([method, row]) => [
      columns > 1 && this.#rowHead(row[0], method),
      ...row.map((slot) => this.#shown(slot, columns > 1, differing(slot, row))),
    ]);
    this.cells.classList.toggle("table", columns > 1);
    this.cells.style.setProperty("--columns", String(columns));
    arrange(this.cells, nodes);
  }

  #rowHead(slot, method) {
    slot.head ??= h("h4", { class: "row-head" });
    slot.head.textContent = this.desk.title(method);
    return slot.head;
  }

  #shown({ card, hole, hidden }, table, words) {
    if (words) card.called(words);
    const there = !hidden && card.node.dataset.state;
    return there ? card.node : table && hole;
  }

  #draw() {
    const ids = this.slots.filter(({ hidden }) => !hidden).map(({ cell }) => cell.job);
    const all = ids.map((id) => jobs.get(id)).filter(Boolean);
    if (!all.length) return;
    const done = all.filter(jobs.isFinal).length;
    const { recipe, created_at: at } = all[0];
    const methods = new Set(all.map(({ method }) => method)).size;
    const seeds = new Set(all.map((job) => String(job.recipe.seed)));
    const told = [count(methods, "method"), seeds.size > 1 ? count(seeds.size, "seed") : `seed ${[...seeds][0]}`];
    this.title.textContent = recipe.prompt || "Comparison";
    this.about.textContent = `${told.join(", ")} · ${done === all.length ? moment(at) : `${done} of ${all.length} done`}`;
    if (!this.references.childElementCount) this.#refer(recipe);
    arrange(this.tools, done === all.length ? [this.zip, this.sheet, this.gone] : this.stop);
  }

  #refer({ style_images: styles = [], content_image: content }) {
    const parts = [...styles.map((sha256) => [sha256, "Style"]), ...(content ? [[content, "Content"]] : [])];
    for (const [sha256, name] of parts) {
      const image = h("img", { alt: `${name} picture`, title: name, width: 44, height: 44, loading: "lazy" });
      show(image, inputPath(sha256));
      attach(this.references, image);
    }
  }

  #delete() {
    const ids = this.slots.map(({ cell }) => cell.job).filter((id) => jobs.get(id));
    deleteJobs(this.path, ids, `All ${ids.length} of the comparison are deleted.`);
  }

  async #cancel() {
    const now = await read(`${this.path}?cancel_only=true`, { method: "DELETE" });
    for (const cell of now.cells) if (cell.job) jobs.put(cell.job);
    announce("All canceled");
  }
}

const count = (number, what) => `${number} ${what}${number === 1 ? "" : "s"}`;

/** Return what sets a cell apart from the others of its method. */
function differing({ cell }, row) {
  const several = (name) => new Set(row.map((slot) => String(slot.cell[name]))).size > 1;
  return [several("strength") && `strength ${cell.strength}`, several("seed") && `seed ${cell.seed}`].filter(Boolean).join(", ");
}
