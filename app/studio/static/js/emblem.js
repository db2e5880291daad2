// A picture for a method that has none: drawn from its family and name, so that a new technique has one, too.

import { svg } from "./dom.js";

const SIDE = 64;

/** Return the emblem of a method: {name, family}. */
export function emblem(method) {
  const draw = DRAWN[method.family] || DRAWN[Object.keys(DRAWN)[hash(method.family) % Object.keys(DRAWN).length]];
  const random = numbers(hash(method.name));
  return svg("svg", { class: "emblem", viewBox: `0 0 ${SIDE} ${SIDE}`, "aria-hidden": "true" }, ...draw(random));
}

const DRAWN = {
  // an eye on the reference: rings around a point
  encoder(random) {
    const [x, y] = [20 + random() * 24, 20 + random() * 24];
    return [30, 22, 15, 9, 4].map((r, n) => svg("circle", { cx: x, cy: y, r: r + random() * 4, class: n % 2 ? "b" : "a" }));
  },
  // pictures that attend to one another: threads between two rows
  "shared-attention"(random) {
    const threads = Array.from({ length: 9 }, (_, n) => {
      const [from, to] = [4 + n * 7, 4 + ((n * 5 + Math.floor(random() * 9)) % 9) * 7];
      return svg("path", { d: `M${from} 8C${from} 34 ${to} 30 ${to} 56`, class: n % 3 ? "line" : "line b" });
    });
    return [svg("rect", { width: SIDE, height: SIDE, class: "a" }), ...threads];
  },
  // one picture poured into another: waves
  injection(random) {
    return [0, 1, 2, 3].map((n) => {
      const [y, bend] = [8 + n * 15, 8 + random() * 12];
      return svg("path", { d: `M0 ${y}Q16 ${y - bend} 32 ${y}T64 ${y}V64H0Z`, class: n % 2 ? "b" : "a" });
    });
  },
  // a part painted anew: a patch on a picture
  edit(random) {
    const [x, y] = [8 + random() * 20, 8 + random() * 20];
    const patch = { x, y, width: 24 + random() * 6, height: 20 + random() * 8, rx: 4 };
    return [svg("rect", { width: SIDE, height: SIDE, class: "a" }), svg("rect", { ...patch, class: "b" }), svg("path", { d: `M0 ${y + 34}Q32 ${y + 20} 64 ${y + 36}`, class: "line" })];
  },
  // noise that leans: dots, denser to one side
  "prior-noise"(random) {
    const dots = Array.from({ length: 90 }, () => {
      const x = random() * SIDE;
      return svg("circle", { cx: x, cy: random() ** (1 + x / SIDE) * SIDE, r: 0.8 + random() * 2.4, class: random() < 0.5 ? "dot" : "dot b" });
    });
    return [svg("rect", { width: SIDE, height: SIDE, class: "a" }), ...dots];
  },
};

function hash(text) {
  let value = 2166136261;
  for (const letter of text) value = Math.imul(value ^ letter.codePointAt(0), 16777619);
  return value >>> 0;
}

function numbers(seed) {
  let state = seed || 1;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) / 2 ** 32;
  };
}
