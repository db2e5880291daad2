// The wall: all jobs of the caller, newest first, comparisons together. Cards are made once and change in place.

import { read } from "./api.js";
import { announce, byId, hide, remove } from "./dom.js";
import { Card } from "./card.js";
import { follow } from "./follow.js";
import { Group, known, remember } from "./groups.js";
import * as jobs from "./jobs.js";

const PAGE = 50;

export class Gallery {
  constructor(desk) {
    this.desk = desk;
    this.place = byId("gallery");
    this.entries = new Map(); // job id -> Card or Group
    this.groups = new Map(); // comparison id -> Group
    this.cursor = null;
    jobs.subscribe((job, before) => (job ? this.#changed(job, before) : this.#gone(before)));
    byId("older").addEventListener("click", () => this.load(this.cursor));
  }

  /** Read a page of jobs from the service and show it. */
  async load(cursor = null) {
    const page = await read(`jobs?limit=${PAGE}${cursor ? `&cursor=${cursor}` : ""}`);
    this.belongs = new Map(known().flatMap((entry) => entry.jobs.map((id) => [id, entry])));
    for (const job of page.jobs) follow(jobs.put(job));
    this.cursor = page.cursor;
    hide(byId("older"), !page.cursor);
    this.#count();
  }

  /** Show at once what is being sent; returns {done(job), gone()}. */
  expectJob(title, prompt, ratio) {
    const card = new Card(this.desk);
    card.expect(title, prompt, ratio);
    this.#first(card);
    return { done: (job) => this.#bind(card, job), gone: () => this.#remove(card) };
  }

  /** Show at once the comparison that is being sent; returns {done(comparison), gone()}. */
  expectGroup(titles, prompt, ratio) {
    const group = new Group(this.desk, titles);
    group.expect(prompt, ratio);
    this.#first(group);
    const done = (comparison) => {
      const entry = remember(comparison);
      this.groups.set(entry.id, group);
      group.become(entry, new Map(entry.jobs.map((id) => [id, this.entries.get(id)])));
      for (const id of entry.jobs) this.entries.set(id, group);
      for (const { job } of comparison.cells) if (job) follow(jobs.put(job));
      this.#count();
    };
    return { done, gone: () => this.#remove(group) };
  }

  /** Show a job in the card that expected it, unless the list has shown it meanwhile. */
  #bind(card, job) {
    if (this.entries.has(job.id)) remove(card.node);
    else this.entries.set(job.id, card);
    follow(jobs.put(job));
    this.#count();
  }

  #changed(job, before) {
    const entry = this.entries.get(job.id) || this.#made(job);
    entry.update(job);
    if (before && !jobs.isFinal(before) && jobs.isFinal(job)) announce(`${this.desk.title(job.method)}: ${job.state}`);
  }

  /** Make the entry of a job that nobody expected: one of the history. */
  #made(job) {
    const belongs = this.belongs?.get(job.id);
    const entry = belongs ? this.#group(belongs, job) : new Card(this.desk);
    this.entries.set(job.id, entry);
    if (!entry.node.isConnected) this.#insert(entry, job.created_at);
    return entry;
  }

  #group(belongs, job) {
    const there = this.groups.get(belongs.id);
    if (there) return there;
    const group = new Group(this.desk, belongs.jobs.map(() => this.desk.title(job.method)));
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
