// A place for pictures: drop, paste or choose; what is picked shows in the same place.

import { announce, complain, h, icon } from "./dom.js";
import { inputPath, show } from "./pictures.js";
import { picturesIn } from "./picked.js";

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
  const invitation = h(
    "label",
    { for: input.id, class: "invitation" },
    icon("image"),
    h("span", {}, h("strong", {}, "Drop, paste or choose"), h("span", { class: "aside" }, `${what}, PNG, JPEG or WebP`)),
  );
  const more = h("label", { for: input.id, class: "more", title: "Add another" }, icon("plus"));
  place.append(input, invitation, list, more);
  catchDrops(place, (files) => add(picked, files, what));

  function draw() {
    invitation.hidden = picked.count > 0;
    list.hidden = picked.count === 0;
    more.hidden = !picked.items.length || picked.items.length >= picked.most;
    place.classList.toggle("full", picked.count > 0);
    list.replaceChildren(...(picked.style ? saved(picked) : picked.items.map((item, n) => tile(picked, item, n, input))));
  }
  draw();
  return { draw, input };
}

/** Add files and say what became of them. */
export function add(picked, files, what) {
  if (!files.length) return complain("That is no picture: PNG, JPEG and WebP are");
  const left = picked.add(files);
  const word = files.length - left === 1 ? "picture" : "pictures";
  announce(left ? `${left} did not fit: at most ${picked.most}` : `${files.length} ${word} added to ${what}`);
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
    if (!within) taken(picturesIn(event.dataTransfer));
  });
}

function tile(picked, item, index, input) {
  const remove = h(
    "button",
    {
      type: "button",
      class: "remove",
      "aria-label": `Remove ${item.name}`,
      title: "Remove",
      onclick: () => {
        picked.remove(index);
        input.focus();
      },
    },
    icon("close"),
  );
  const image = h("img", { src: item.address, alt: item.name, width: 96, height: 96 });
  return h("li", {}, image, remove, picked.items.length > 1 && weight(item, index));
}

function weight(item, index) {
  const entry = h("input", {
    type: "text",
    class: "weight",
    inputmode: "decimal",
    placeholder: "1",
    value: item.weight,
    title: "Weight of this picture",
    "aria-label": `Weight of picture ${index + 1}`,
    oninput: () => {
      item.weight = entry.value.trim();
    },
  });
  return entry;
}

function saved(picked) {
  return picked.style.references.map(({ sha256 }, n) => {
    const image = h("img", { alt: `${picked.style.name}, picture ${n + 1}`, width: 96, height: 96 });
    show(image, inputPath(sha256));
    return h("li", {}, image);
  });
}
