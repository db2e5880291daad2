// The prompt: about how much of it the model reads, and, for a demonstration model, what can be drawn at all.

import { byId, fill, h, hide } from "./dom.js";

const WORDS = /\p{L}+/gu;
const PARTS = /\p{Script=Latin}+|\p{L}|\p{N}|[^\s\p{L}\p{N}]+/gu;
const LETTERS = 8;

/** Return about how many tokens a text takes: a short word is one, a long one several, a sign or digit is one. */
const tokens = (text) => (text.match(PARTS) || []).reduce((sum, part) => sum + Math.ceil(part.length / LETTERS), 0);

/** The entry, its counter and notes. */
export class Prompt {
  constructor() {
    this.entry = byId("prompt");
    this.ordinary = this.entry.placeholder;
    this.model = null;
    this.entry.addEventListener("input", () => this.#tell());
  }

  /** Return what it says, on one line. */
  get text() {
    return this.entry.value.replace(/\s*\n\s*/g, " ").trim();
  }

  /** Say something else. */
  write(text) {
    this.entry.value = text;
    this.#tell();
  }

  /** Show what a served model knows and reads. */
  fit(model) {
    if (model === this.model) return;
    this.model = model;
    const words = this.#known();
    this.entry.placeholder = words.length ? `a ${words[0]}` : this.ordinary;
    fill(byId("demonstration-note"), words.length && model.notes.replaceAll("`", ""));
    fill(byId("words"), words.map((word) => h("button", { type: "button", class: "chip", onclick: () => this.#take(word) }, word)));
    hide(byId("demonstration"), !words.length);
    this.#tell();
  }

  #known() {
    return this.model?.knows || [];
  }

  /** Say how much of the prompt the model reads, and whether it knows what is asked for. */
  #tell() {
    const most = this.model?.prompt_tokens;
    const length = tokens(this.text);
    byId("prompt-count").textContent = length && most ? `about ${length} of ${most} tokens` : "what to draw";
    const notes = [
      most && length > most && `Long: the model reads about the first ${most} tokens, what follows has no say.`,
      this.#misses() && "None of the words that this model knows is in the prompt: the picture will show something else.",
    ];
    byId("prompt-note").textContent = notes.filter(Boolean).join(" ");
  }

  #misses() {
    const known = this.#known();
    const said = this.#said();
    return known.length > 0 && said.length > 0 && !said.some((word) => known.includes(word));
  }

  #said() {
    return this.text.toLowerCase().match(WORDS) || [];
  }

  /** Put a word into the prompt, in place of another that is known. */
  #take(word) {
    const there = this.#said().find((one) => this.#known().includes(one));
    const text = this.text;
    this.write(there ? text.replace(new RegExp(`\\b(an?\\s+)?${there}\\b`, "i"), `a ${word}`) : text ? `${text}, a ${word}` : `a ${word}`);
    this.entry.dispatchEvent(new Event("input", { bubbles: true }));
  }
}
