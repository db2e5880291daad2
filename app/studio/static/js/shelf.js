// What can be picked without a file: saved styles and the examples that come with the page.

import { Problem, post, read } from "./api.js";
import { deleteStyle } from "./deleting.js";
import { announce, arrange, button, byId, fill, h, keyedList } from "./dom.js";
import { file, inputPath, show } from "./pictures.js";
import { tell } from "./tabs.js";

const MOST = 50;

/** Fill a shelf with saved styles, when it is the styles', and what `examples` returns. Returns {reload, draw, hide(id), reveal(id)}. */
export function shelf(place, picked, examples, { withStyles = false } = {}) {
  const list = keyedList(place, (one) => one.id || one.file, swatch);
  const hidden = new Set(); // styles that are being deleted
  let styles = [];

  async function reload() {
    place.ariaBusy = "true";
    try {
      if (withStyles) styles = (await read(`styles?limit=${MOST}`)).styles;
      draw();
    } finally {
      place.ariaBusy = "false";
    }
  }

  function draw() {
    list([...styles.filter(({ id }) => !hidden.has(id)), ...examples()]);
  }

  function hide(id) {
    hidden.add(id);
    draw();
  }

  function reveal(id) {
    hidden.delete(id);
    draw();
  }

  function swatch({ id, name, file, small, references }) {
    const image = h("img", { alt: "", width: 52, height: 52 });
    if (id) show(image, inputPath(references[0].sha256));
    else image.src = `studio/examples/${small}`;
    let current;
    const onclick = () => toggle(current);
    const node = h("button", { type: "button", class: "swatch", title: name, onclick }, image, h("span", {}, name), h("span", { class: "visually-hidden" }, `, ${id ? "saved" : "example"}`));
    const update = (one) => {
      current = one;
      node.ariaPressed = String(isPicked(one));
    };
    return { node, update };
  }

  function isPicked({ id, file }) {
    return id ? picked.style?.id === id : picked.items.length === 1 && picked.items[0].file.name === file;
  }

  function toggle(one) {
    if (isPicked(one)) return picked.clear();
    return one.id ? picked.take(one) : picked.fetch(file(`studio/examples/${one.file}`, one.file));
  }

  return { reload, draw, hide, reveal };
}

/** Show what can be done with the picked style: save it, or delete a saved one of a shelf. Returns {draw}. */
export function styleActions(place, picked, ofStyles) {
  const save = button("Save as a style", "check", () => name(picked, ofStyles.reload), { kind: "link" });
  const gone = button("", "trash", () => forget(picked, ofStyles), { kind: "link" });
  function draw() {
    if (picked.style) gone.lastElementChild.textContent = `Delete “${picked.style.name}”`;
    arrange(place, picked.style ? gone : picked.items.length > 0 && save);
  }
  return { draw };
}

function forget(picked, ofStyles) {
  const { style } = picked;
  picked.clear();
  ofStyles.hide(style.id);
  deleteStyle(style, () => ofStyles.reveal(style.id));
}

/** Ask for a name and save the picked files under it. */
function name(picked, reload) {
  const dialog = byId("save-dialog");
  const entry = h("input", { id: "save-name", type: "text", maxlength: 100, autocomplete: "off" });
  const error = h("p", { class: "error", role: "alert", id: "save-error", hidden: true });
  entry.setAttribute("aria-describedby", "save-error");
  const save = async (event) => {
    event.preventDefault();
    const form = new FormData();
    form.append("name", entry.value);
    picked.fill(form, "style_image");
    try {
      const style = await post("styles", form);
      dialog.close();
      picked.take(style);
      await reload();
      tell({ styles: true });
      announce(`Saved as ${style.name}`);
    } catch (fault) {
      error.hidden = false;
      error.textContent = fault instanceof Problem ? fault.errors.map((one) => one.detail).join("; ") || fault.message : fault.message;
      entry.setAttribute("aria-invalid", "true");
      entry.focus();
    }
  };
  fill(
    dialog,
    h(
      "form",
      { onsubmit: save, novalidate: true },
      h("h2", { id: "save-title" }, "Save as a style"),
      h("p", {}, `${picked.items.length === 1 ? "This picture" : `These ${picked.items.length} pictures`} can then be taken by name, here and as style_id.`),
      h("label", { for: "save-name" }, "Name"),
      entry,
      error,
      h(
        "div",
        { class: "row end" },
        h("button", { type: "button", class: "secondary", onclick: () => dialog.close() }, "Back"),
        h("button", { type: "submit", class: "primary" }, "Save"),
      ),
    ),
  );
  dialog.showModal();
}
