// A place for pictures: drop, paste or choose; what is picked shows in the same place.

import { announce, attach, complain, h, hide, icon, keyedList } from "./dom.js";
import { inputPath, show } from "./pictures.js";
import { refusal } from "./formats.js";

const ACCEPTED = "image/png,image/jpeg,image/webp";

/** Make `place` the drop zone of what is picked; `what` names it. Returns {draw}. */
export function dropzone(place, picked, what) {
  const input = h("input", {
    type: "file",
    id: `${place.id}-file`,
    class: "visually-hidden",
    accept: ACCEPTED,
    multiple: picked.most > 1,
    "aria-label": `Choose ${what}`,
    onchange: () => {
      if (input.files.length) add(picked, [...input.files], what);
      input.value = "";
    },
  });
  const list = h("ul", { class: "picked" });
  const error = place.closest("[data-pointer]").querySelector(":scope > .error");
  picked.refuse = (why) => {
    picked.refused = why;
    error.textContent = why;
    error.hidden = !why;
  };
  const tiles = keyedList(list, (one, n) => (one.sha256 ? `${n} ${one.sha256}` : one), (one) => (one.sha256 ? saved(picked, one) : tile(picked, one, input)));
  const invitation = h(
    "label",
    { for: input.id, class: "invitation" },
    icon("image"),
    h("span", {}, h("strong", {}, "Drop, paste or choose"), h("span", { class: "aside" }, `${what}, PNG, JPEG or WebP`)),
  );
  const more = h("label", { for: input.id, class: "more", title: "Add another" }, icon("plus"));
  attach(place, input, invitation, list, more);
  catchDrops(place, (files) => add(picked, files, what));

  function draw() {
    invitation.hidden = picked.count > 0;
    list.hidden = picked.count === 0;
    more.hidden = !picked.items.length || picked.items.length >= picked.most;
    place.classList.toggle("full", picked.count > 0);
    tiles(picked.style ? picked.style.references : picked.items);
  }
  draw();
  return { draw, input };
}

/** Add files and say what became of them; what turns out to be no picture is taken out again. */
export function add(picked, files, what) {
  if (!files.length) return complain("Only PNG, JPEG and WebP pictures are taken: export others, HEIC of an iPhone too, as JPEG");
  const left = picked.add(files);
  picked.checked = Promise.all([picked.checked, ...picked.items.filter(({ file }) => files.includes(file)).map((item) => check(picked, item))]);
  const word = files.length - left === 1 ? "picture" : "pictures";
  announce(left ? `${left} did not fit: at most ${picked.most}` : `${files.length} ${word} added to ${what}`);
}

async function check(picked, item) {
  const why = await refusal(item.file);
  if (!why || !picked.items.includes(item)) return;
  picked.remove(item);
  picked.refusals += 1;
  picked.refuse(why);
  complain(why);
}

/** Let pictures be dropped on a place. */
export function catchDrops(place, taken) {
  let depth = 0;
  const mark = (change) => {
    depth = Math.max(0, change === 0 ? 0 : depth + change);
    place.classList.toggle("over", depth > 0);
  };
  place.addEventListener("dragenter", (event) => {
    if (!event.dataTransfer.types.includes("Files")) return;
    event.preventDefault();
    mark(+1);
  });
  place.addEventListener("dragover", (event) => {
    if (event.dataTransfer.types.includes("Files")) event.preventDefault();
  });
  place.addEventListener("dragleave", () => mark(-1));
  place.addEventListener("drop", (event) => {
    const within = event.defaultPrevented; // by a place within this one
    mark(0);
    if (!event.dataTransfer.types.includes("Files")) return;
    event.preventDefault();
    if (!within) taken([...event.dataTransfer.files]);
  });
}

function tile(picked, item, input) {
  const onclick = () => {
    picked.remove(item);
    input.focus();
  };
  const remove = h("button", { type: "button", class: "remove", "aria-label": `Remove ${item.name}`, title: "Remove", onclick }, icon("close"));
  const weight = weightOf(item);
  const update = (_, index) => {
    hide(weight, picked.items.length === 1);
    weight.setAttribute("aria-label", `Weight of picture ${index + 1}`);
    if (weight.value.trim() !== item.weight) weight.value = item.weight;
  };
  return { node: h("li", {}, h("img", { src: item.address, alt: item.name, width: 96, height: 96 }), remove, weight), update };
}

function weightOf(item) {
  const oninput = () => {
    item.weight = entry.value.trim();
  };
  const entry = h("input", { type: "text", class: "weight", inputmode: "decimal", placeholder: "1", title: "Weight of this picture", oninput });
  return entry;
}

function saved(picked, { sha256 }) {
  const image = h("img", { width: 96, height: 96 });
  show(image, inputPath(sha256));
  const update = (_, index) => {
    image.alt = `${picked.style.name}, picture ${index + 1}`;
  };
  return { node: h("li", {}, image), update };
}
