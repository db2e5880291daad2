// The wall: all jobs of the caller, newest first, comparisons together. Cards are made once and change in place.

import { ask, Away, parse, Problem, read } from "./api.js";
import { announce, byId, hide, remove } from "./dom.js";
import { Card } from "./card.js";
import { follow } from "./follow.js";
import { Group, summary } from "./groups.js";
import * as jobs from "./jobs.js";
import { hear, tell } from "./tabs.js";

const PAGE = 50;
const LOOK = 10_000;

export class Gallery {
  constructor(desk) {
    this.desk = desk;
    this.place = byId("gallery");
    this.entries = new Map(); // job id -> Card or Group
    this.groups = new Map(); // comparison id -> Group
    this.belongs = new Map(); // job id -> the comparison that it is a part of, as a list tells it
    this.cursor = undefined; // until the first page is there
    jobs.subscribe((job, before) => (job ? this.#changed(job, before) : this.#gone(before)));
    byId("older").addEventListener("click", () => this.load(this.cursor));
    hear(({ made, gone = [] }) => {
      gone.forEach(jobs.drop);
      if (made) this.load();
    });
    setInterval(() => this.#look(), LOOK);
  }

  /** Read the newest page of jobs, or that at a cursor, and show it. */
  async load(cursor = null) {
    const [page, { comparisons }] = await Promise.all([read(`jobs?limit=${PAGE}${cursor ? `&cursor=${cursor}` : ""}`), read(`comparisons?limit=${PAGE}`)]);
    comparisons.forEach((one) => this.#remember(one));
    const others = new Set(page.jobs.filter(({ id }) => !this.belongs.has(id)).map(({ comparison }) => comparison));
    await Promise.all([...others].filter(Boolean).map((id) => this.#learn(id)));
    for (const job of page.jobs) follow(jobs.put(job));
    if (cursor || this.cursor === undefined) this.cursor = page.cursor;
    hide(byId("older"), !this.cursor);
    this.#count();
  }

  #remember(comparison) {
    for (const { job } of comparison.cells) if (job) this.belongs.set(job, comparison);
    return comparison;
  }

  /** Learn of an older comparison; one that is gone meanwhile leaves its jobs alone. */
  async #learn(id) {
    try {
      this.#remember(summary(await read(`comparisons/${id}`)));
    } catch (fault) {
      if (fault.status !== 404) throw fault;
    }
  }

  /** See whether something was sent from elsewhere. */
  async #look() {
    if (document.hidden || this.cursor === undefined) return;
    try {
      const { jobs: [newest] } = parse(await (await ask("jobs?limit=1&fields=id")).text());
      if (newest && !jobs.get(newest.id)) await this.load();
    } catch (fault) {
      if (!(fault instanceof Problem || fault instanceof Away)) throw fault;
    }
  }

  /** Show at once what is being sent; returns {done(job), gone()}. */
  expectJob(title, prompt, ratio) {
    const card = new Card(this.desk);
    card.expect(title, prompt, ratio);
    this.#first(card);
    return { done: (job) => this.#bind(card, job), gone: () => this.#remove(card) };
  }

  /** Show at once the comparison that is being sent; returns {done(comparison), gone()}. */
  expectGroup(cells, prompt, ratio) {
    const group = new Group(this.desk, cells);
    group.expect(prompt, ratio);
    this.#first(group);
    const done = (comparison) => {
      const told = this.#remember(summary(comparison));
      if (this.groups.has(told.id)) return this.#remove(group); // the list has shown it meanwhile
      const ids = told.cells.map(({ job }) => job).filter(Boolean);
      this.groups.set(told.id, group);
      group.become(told, new Map(ids.map((id) => [id, this.entries.get(id)])));
      for (const id of ids) this.entries.set(id, group);
      for (const { job } of comparison.cells) if (job) follow(jobs.put(job));
      this.#count();
      tell({ made: true });
    };
    return { done, gone: () => this.#remove(group) };
  }

  /** Show a job in the card that expected it, unless the list has shown it meanwhile. */
  #bind(card, job) {
    if (this.entries.has(job.id)) remove(card.node);
    else this.entries.set(job.id, card);
    follow(jobs.put(job));
    this.#count();
    tell({ made: true });
  }

  #changed(job, before) {
    const entry = this.entries.get(job.id) || this.#made(job);
    entry.update(job);
    if (before && !jobs.isFinal(before) && jobs.isFinal(job)) announce(`${this.desk.title(job.method)}: ${job.state}`);
  }

  /** Make the entry of a job that nobody expected: one of the history. */
  #made(job) {
    const belongs = this.belongs?.get(job.id);
    const entry = belongs ? this.#group(belongs) : new Card(this.desk);
    this.entries.set(job.id, entry);
    if (!entry.node.isConnected) this.#insert(entry, job.created_at);
    return entry;
  }

  #group(belongs) {
    const there = this.groups.get(belongs.id);
    if (there) return there;
    const group = new Group(this.desk, belongs.cells);
    group.become(belongs);
    this.groups.set(belongs.id, group);
    return group;
  }

  #first(entry) {
    entry.node.dataset.at = new Date().toISOString();
    this.place.prepend(entry.node);
    byId("empty").hidden = true;
    entry.node.scrollIntoView({ block: "nearest" });
  }

  #insert(entry, at) {
    entry.node.dataset.at = at;
    const later = [...this.place.children].find((node) => node.dataset.at < at);
    this.place.insertBefore(entry.node, later || null);
  }

  #gone(job) {
    const entry = this.entries.get(job.id);
    this.entries.delete(job.id);
    if (entry instanceof Card) this.#remove(entry);
    else if (entry?.remove(job)) {
      this.groups.delete(entry.id);
      this.#remove(entry);
    } else this.#count();
  }

  #remove(entry) {
    remove(entry.node);
    this.#count();
  }

  #count() {
    const shown = jobs.all().length;
    byId("empty").hidden = this.place.childElementCount > 0;
    byId("wall-count").textContent = shown ? `${shown}${this.cursor ? "+" : ""} ${shown === 1 ? "job" : "jobs"}` : "";
  }
}
