// What can be picked without a file: saved styles and the examples that come with the page.

import { call, Problem, post, read } from "./api.js";
import { announce, button, byId, h } from "./dom.js";
import { file, inputPath, show } from "./pictures.js";

const MOST = 50;

/** Fill `shelf` with saved styles, when it is the styles', and examples. Returns {reload, draw}. */
export function shelf(place, picked, examples, { withStyles = false } = {}) {
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
    const held = place.contains(document.activeElement) && document.activeElement.dataset.name;
    place.replaceChildren(...styles.map(ofStyle), ...examples.map(ofExample));
    if (held) place.querySelector(`[data-name="${CSS.escape(held)}"]`)?.focus();
  }

  function ofStyle(style) {
    const image = h("img", { alt: "", width: 52, height: 52 });
    show(image, inputPath(style.references[0].sha256));
    const pressed = picked.style?.id === style.id;
    const onclick = () => picked.take(pressed ? null : style);
    return swatch(image, style.name, onclick, pressed, "saved");
  }

  function ofExample(example) {
    const image = h("img", { alt: "", width: 52, height: 52, src: `studio/examples/${example.small}` });
    const pressed = picked.items.length === 1 && picked.items[0].file.name === example.file;
    const onclick = async () => {
      if (pressed) picked.clear();
      else picked.replace([await file(`studio/examples/${example.file}`, example.file)]);
    };
    return swatch(image, example.name, onclick, pressed, "example");
  }

  function swatch(image, name, onclick, pressed, kind) {
    const attributes = { type: "button", class: "swatch", title: name, "aria-pressed": pressed, "data-name": name, onclick };
    return h("button", attributes, image, h("span", {}, name), h("span", { class: "visually-hidden" }, `, ${kind}`));
  }

  return { reload, draw };
}

/** Draw what can be done with the picked style: save it, or delete a saved one. `reload` follows both. */
export function styleActions(place, picked, reload) {
  if (picked.style) {
    const gone = () => remove(picked, reload);
    return place.replaceChildren(button(`Delete “${picked.style.name}”`, "trash", gone, { kind: "link" }));
  }
  const save = picked.items.length ? [button("Save as a style", "check", () => name(picked, reload), { kind: "link" })] : [];
  place.replaceChildren(...save);
}

async function remove(picked, reload) {
  const { id, name: known } = picked.style;
  await call(`styles/${id}`, { method: "DELETE" });
  picked.clear();
  await reload();
  announce(`The style ${known} is deleted`);
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
      announce(`Saved as ${style.name}`);
    } catch (fault) {
      error.hidden = false;
      error.textContent = fault instanceof Problem ? fault.errors.map((one) => one.detail).join("; ") || fault.message : fault.message;
      entry.setAttribute("aria-invalid", "true");
      entry.focus();
    }
  };
  dialog.replaceChildren(
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
