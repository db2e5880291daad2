// Elements without markup in strings: the page's policy forbids it, and nothing can be injected.

const SVG = "http://www.w3.org/2000/svg";
const COMPLAINT = 8000;

/** Return an element; `on…` attributes are listeners, false and null leave an attribute or child out. */
export function h(tag, attributes = {}, ...children) {
  return filled(document.createElement(tag), attributes, children);
}

/** Return an SVG element. */
export function svg(tag, attributes = {}, ...children) {
  return filled(document.createElementNS(SVG, tag), attributes, children);
}

function filled(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || (value === false && !name.startsWith("aria-"))) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else node.setAttribute(name, value === true && !name.startsWith("aria-") ? "" : String(value));
  }
  return fill(node, ...children);
}

/** Put these children in place of an element's; false and null are left out. */
export function fill(node, ...children) {
  node.replaceChildren(...shown(children));
  return node;
}

/** Put these children behind an element's; false and null are left out. */
export function attach(node, ...children) {
  node.append(...shown(children));
  return node;
}

/** Return the children that are one: the word "false" of a condition that does not hold is no text. */
const shown = (children) => children.flat(Infinity).filter((child) => child instanceof Node || typeof child === "string" || typeof child === "number");

/** Make these an element's children; false and null are left out. Those that stay keep the focus and a press in progress. */
export function arrange(place, ...children) {
  const wanted = children.flat().filter(Boolean);
  for (const child of [...place.children]) if (!wanted.includes(child)) remove(child);
  wanted.forEach((child, n) => {
    if (place.children[n] !== child) move(place, child, place.children[n] || null);
  });
  return place;
}

function move(place, child, next) {
  const held = document.activeElement;
  if (place.moveBefore && place.isConnected && child.isConnected) place.moveBefore(child, next);
  else place.insertBefore(child, next);
  if (child.contains(held)) held.focus({ preventScroll: true });
}

/** Return a function that shows items in a place. Each key has one row, made once by `make`: {node, update(item, index)}. */
export function keyedList(place, keyOf, make) {
  let rows = new Map();
  return (items) => {
    const before = rows;
    rows = new Map();
    items.forEach((item, n) => {
      const key = keyOf(item, n);
      const row = before.get(key) || make(item);
      row.update(item, n);
      rows.set(key, row);
    });
    arrange(place, [...rows.values()].map((row) => row.node));
  };
}

/** Remove an element. */
export function remove(node) {
  release(node);
  node.remove();
}

/** Hide an element, or show it. */
export function hide(node, hidden = true, heir = null) {
  if (hidden) release(node, heir);
  node.hidden = hidden;
}

/** Take the focus out of an element that goes: to its heir, the nearest around it that can hold the focus. */
function release(node, heir = null) {
  if (!node.contains(document.activeElement)) return;
  (heir || node.parentElement.closest("[tabindex]"))?.focus({ preventScroll: true });
}

/** Return the element with an id. */
export const byId = (id) => document.getElementById(id);

const PATHS = {
  image: "M4 5h16v14H4zM4 16l5-5 4 4 3-3 4 4M15.500 9.500h.01",
  close: "M6 6l12 12M18 6L6 18",
  lock: "M7 11V8a5 5 0 0110 0v3M5 11h14v9H5z",
  unlock: "M7 11V8a5 5 0 019.600-2M5 11h14v9H5z",
  again: "M4 12a8 8 0 0114-5.300L20 9M20 4v5h-5M20 12a8 8 0 01-14 5.300L4 15M4 20v-5h5",
  download: "M12 4v11M7 11l5 5 5-5M5 20h14",
  stop: "M6 6h12v12H6z",
  warning: "M12 4l9 16H3zM12 10v5M12 17.500v.01",
  left: "M15 5l-7 7 7 7",
  right: "M9 5l7 7-7 7",
  plus: "M12 5v14M5 12h14",
  minus: "M5 12h14",
  whole: "M4 9V4h5M20 9V4h-5M4 15v5h5M20 15v5h-5",
  copy: "M9 9h11v11H9zM15 9V4H4v11h5",
  check: "M5 13l4 4L19 7",
  light: "M12 8a4 4 0 100 8 4 4 0 000-8M12 2v2M12 20v2M4.900 4.900l1.400 1.400M17.700 17.700l1.400 1.400M2 12h2M20 12h2M4.900 19.100l1.400-1.400M17.700 6.300l1.400-1.400",
  dark: "M20 14.500A8.500 8.500 0 019.500 4 8.500 8.500 0 1020 14.500z",
  system: "M4 5h16v11H4zM9 20h6M12 16v4",
  sheet: "M4 4h7v7H4zM13 4h7v7h-7zM4 13h7v7H4zM13 13h7v7h-7z",
  trash: "M5 7h14M9 7V4h6v3M7 7l1 13h8l1-13",
};

/** Return an icon; it says nothing, the control around it has a name. */
export function icon(name) {
  const shape = svg("path", { d: PATHS[name] });
  return svg("svg", { class: "icon", viewBox: "0 0 24 24", "aria-hidden": "true", focusable: "false" }, shape);
}

/** Return a button with an icon and a name; `quiet` shows the name only to those who point at it or listen. */
export function button(name, symbol, onclick, { kind = "tool", quiet = false, ...more } = {}) {
  const shown = quiet ? [] : [h("span", {}, name)];
  const named = quiet ? { "aria-label": name, title: name } : {};
  return h("button", { type: "button", class: kind, onclick, ...named, ...more }, icon(symbol), ...shown);
}

/** Tell those who listen instead of looking. */
export function announce(text) {
  byId("announcer").textContent = text;
}

/** Say to everybody for a while what did not work. */
export function complain(text) {
  const place = byId("complaint");
  fill(place, icon("warning"), h("span", {}, text));
  place.hidden = false;
  clearTimeout(complain.timer);
  complain.timer = setTimeout(() => (place.hidden = true), COMPLAINT);
}
