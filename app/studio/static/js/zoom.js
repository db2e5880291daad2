// A picture that can be brought nearer: wheel, pinch, double click, drag, or the keys + - 0 1 and the arrows. 100 % is one
// pixel of the picture on one of the page.

import { button, h } from "./dom.js";

const MOST = 16; // times the whole picture, or pixels of the page for one of the picture
const STEP = 1.25;
const PAN = 40;
const SQUARE = 2; // from here on a pixel is shown as the square that it is

/** Return {node, begin(label)}: a stage that zooms an image element; `begin` shows it whole. */
export function zoomable(picture) {
  const moved = h("div", { class: "moved" }, picture);
  const shown = h("output", { class: "zoom-value" }, "");
  const stage = h("div", { class: "stage", tabindex: 0, role: "group" }, moved);
  const tools = h(
    "div",
    { class: "zoom-tools" },
    button("Farther", "minus", () => by(1 / STEP), { quiet: true }),
    shown,
    button("Nearer", "plus", () => by(STEP), { quiet: true }),
    button("Whole picture", "whole", () => reset(), { quiet: true }),
    h("button", { type: "button", class: "tool", title: "One pixel of the picture on one of the page", onclick: () => pixels() }, "1:1"),
  );
  const view = { scale: 1, x: 0, y: 0 };
  const fingers = new Map();

  /** Return how many pixels of the page one of the picture takes while the whole is shown; null before it is there. */
  function whole() {
    const { naturalWidth: width, naturalHeight: height } = picture;
    return width && stage.clientWidth ? Math.min(stage.clientWidth / width, stage.clientHeight / height) : null;
  }

  function draw() {
    const fit = whole();
    const edge = (side) => Math.max(0, ((view.scale - 1) * side) / 2);
    view.x = clamp(view.x, edge(stage.clientWidth));
    view.y = clamp(view.y, edge(stage.clientHeight));
    moved.style.transform = `translate(${view.x}px, ${view.y}px) scale(${view.scale})`;
    shown.textContent = fit === null ? "" : `${Math.round(view.scale * fit * 100)} %`;
    stage.classList.toggle("near", view.scale > 1);
    moved.classList.toggle("pixels", fit !== null && view.scale * fit >= SQUARE);
  }

  function by(factor, at = { x: 0, y: 0 }) {
    const fit = whole() ?? 1;
    const scale = Math.min(MOST * Math.max(1, 1 / fit), Math.max(Math.min(1, 1 / fit), view.scale * factor));
    const real = scale / view.scale;
    view.x = at.x - (at.x - view.x) * real;
    view.y = at.y - (at.y - view.y) * real;
    view.scale = scale;
    draw();
  }

  function reset() {
    Object.assign(view, { scale: 1, x: 0, y: 0 });
    draw();
  }

  function pixels() {
    reset();
    by(1 / (whole() ?? 1));
  }

  function begin(label) {
    stage.setAttribute("aria-label", `${label}. Keys plus, minus, 0 and 1 zoom, arrows move`);
    fingers.clear();
    reset();
  }

  function spot(event) {
    const box = stage.getBoundingClientRect();
    return { x: event.clientX - box.left - box.width / 2, y: event.clientY - box.top - box.height / 2 };
  }

  picture.addEventListener("load", draw);
  new ResizeObserver(draw).observe(stage);
  stage.addEventListener("wheel", (event) => {
    event.preventDefault();
    by(event.deltaY < 0 ? STEP : 1 / STEP, spot(event));
  }, { passive: false });
  stage.addEventListener("dblclick", (event) => (view.scale > 1 ? reset() : by(3, spot(event))));
  stage.addEventListener("pointerdown", (event) => {
    if (event.target.closest("input")) return;
    stage.setPointerCapture(event.pointerId);
    fingers.set(event.pointerId, spot(event));
  });
  stage.addEventListener("pointermove", (event) => {
    const before = fingers.get(event.pointerId);
    if (!before) return;
    const now = spot(event);
    const [other] = [...fingers].filter(([id]) => id !== event.pointerId).map(([, at]) => at);
    fingers.set(event.pointerId, now);
    if (other) return by(distance(now, other) / Math.max(1, distance(before, other)), middle(now, other));
    view.x += now.x - before.x;
    view.y += now.y - before.y;
    draw();
  });
  for (const end of ["pointerup", "pointercancel"]) stage.addEventListener(end, (event) => fingers.delete(event.pointerId));
  stage.addEventListener("keydown", (event) => {
    const moves = { ArrowLeft: [PAN, 0], ArrowRight: [-PAN, 0], ArrowUp: [0, PAN], ArrowDown: [0, -PAN] };
    if (event.target !== stage) return;
    if (event.key === "+" || event.key === "=") by(STEP);
    else if (event.key === "-") by(1 / STEP);
    else if (event.key === "0") reset();
    else if (event.key === "1") pixels();
    else if (moves[event.key] && view.scale > 1) {
      view.x += moves[event.key][0];
      view.y += moves[event.key][1];
      draw();
    } else return;
    event.preventDefault();
    event.stopPropagation();
  });
  return { node: h("div", { class: "zoom" }, stage, tools), begin };
}

const clamp = (value, edge) => Math.min(edge, Math.max(-edge, value));
const distance = (a, b) => Math.hypot(a.x - b.x, a.y - b.y);
const middle = (a, b) => ({ x: (a.x + b.x) / 2, y: (a.y + b.y) / 2 });
