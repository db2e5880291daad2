// The mask of a content picture: white is repainted. A file is dropped, or painted here with a brush on the picture.

import { announce, byId, complain, h, hide } from "./dom.js";
import { dropzone } from "./dropzone.js";
import { Picked } from "./picked.js";

const KEYS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

/** The field. `content` is the Picked that the mask is of; `changed` is called after each change. */
export class Mask {
  constructor(content, changed) {
    this.content = content;
    this.picked = new Picked(1, () => {
      changed();
      this.zone?.draw();
    });
    this.zone = dropzone(byId("mask-drop"), this.picked, "a mask");
    this.canvas = byId("mask-canvas");
    this.pen = this.canvas.getContext("2d");
    this.picture = byId("mask-picture");
    this.brush = byId("mask-brush");
    byId("mask-paint").addEventListener("click", () => this.#open());
    byId("mask-clear").addEventListener("click", () => this.#clear());
    this.#listen();
  }

  /** Fit the field to the chosen methods. */
  fit(methods) {
    hide(byId("mask-field"), methods.every(({ inputs }) => inputs.mask_image === "none"));
  }

  /** Let go of what was painted on another content picture. */
  drawContent() {
    const [item] = this.content.items;
    hide(byId("mask-paint"), !item);
    if (this.item === item) return;
    if (this.item) this.#clear();
    hide(byId("mask-painter"));
    this.item = null;
  }

  /** Write the mask into a form, where a chosen method takes one. */
  fill(form) {
    if (!byId("mask-field").hidden) this.picked.fill(form, "mask_image");
  }

  /** Show the content picture to paint on: the mask has its size. */
  async #open() {
    const [item] = this.content.items;
    this.picture.src = item.address;
    try {
      await this.picture.decode();
    } catch {
      return complain("The content picture cannot be shown");
    }
    this.item = item;
    this.canvas.width = this.picture.naturalWidth;
    this.canvas.height = this.picture.naturalHeight;
    this.at = [this.canvas.width / 2, this.canvas.height / 2];
    hide(byId("mask-painter"), false);
    this.canvas.focus();
  }

  #clear() {
    this.pen.clearRect(0, 0, this.canvas.width, this.canvas.height);
    this.picked.clear();
    announce("The mask is empty");
  }

  #listen() {
    const { canvas } = this;
    canvas.addEventListener("pointerdown", (event) => {
      canvas.setPointerCapture(event.pointerId);
      this.at = this.#place(event);
      this.#stroke(this.at);
    });
    canvas.addEventListener("pointermove", (event) => canvas.hasPointerCapture(event.pointerId) && this.#stroke(this.#place(event)));
    canvas.addEventListener("pointerup", () => this.#keep());
    canvas.addEventListener("keydown", (event) => this.#keyed(event));
  }

  /** With a keyboard: arrows move the brush, the space bar paints where it is. */
  #keyed(event) {
    const step = KEYS[event.key];
    if (!step && event.key !== " ") return;
    event.preventDefault();
    if (step) this.at = this.at.map((value, n) => value + step[n] * this.#width() / 2);
    else {
      this.#stroke(this.at);
      this.#keep();
    }
    const [x, y] = this.at.map((value, n) => Math.round((100 * value) / (n ? this.canvas.height : this.canvas.width)));
    announce(step ? `Brush at ${x} % from the left, ${y} % from the top` : "Painted");
  }

  /** Return the place of an event in pixels of the picture. */
  #place({ offsetX, offsetY }) {
    const scale = this.canvas.width / this.canvas.clientWidth;
    return [offsetX * scale, offsetY * scale];
  }

  /** Return the width of the brush in pixels of the picture. */
  #width() {
    return (Number(this.brush.value) / 100) * Math.max(this.canvas.width, this.canvas.height);
  }

  #stroke(to) {
    Object.assign(this.pen, { strokeStyle: "white", lineWidth: this.#width(), lineCap: "round", lineJoin: "round" });
    this.pen.beginPath();
    this.pen.moveTo(...this.at);
    this.pen.lineTo(...to);
    this.pen.stroke();
    this.at = to;
  }

  /** Hold what is painted, on black, as the file that is sent. */
  async #keep() {
    const { width, height } = this.canvas;
    const flat = h("canvas", { width, height });
    const pen = flat.getContext("2d");
    pen.fillStyle = "black";
    pen.fillRect(0, 0, width, height);
    pen.drawImage(this.canvas, 0, 0);
    const content = await new Promise((done) => flat.toBlob(done, "image/png"));
    this.picked.replace([new File([content], "mask.png", { type: "image/png" })]);
  }
}
