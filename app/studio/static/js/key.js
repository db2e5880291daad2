// The API key: asked for when the service wants one, tried before it is kept.

import { ask, key, Problem, useKey } from "./api.js";
import { byId, fill, h } from "./dom.js";

let asking = null;

/** Ask for a key, once for all who need it. Resolves true when there is one that opens the service. */
export function askForKey(problem) {
  asking ??= opened(problem).finally(() => {
    asking = null;
    show();
  });
  return asking;
}

/** Show the button that changes the key, where one is in use. */
export function show() {
  byId("key").hidden = !key();
}

/** Make the button work. */
export function install() {
  show();
  byId("key").addEventListener("click", async () => {
    if (await askForKey()) location.reload();
  });
}

function opened(problem) {
  const dialog = byId("key-dialog");
  const entry = h("input", { type: "password", id: "key-entry", autocomplete: "off", spellcheck: "false" });
  const remember = h("input", { type: "checkbox", id: "key-remember" });
  const error = h("p", { class: "error", id: "key-error", role: "alert", hidden: true });
  entry.setAttribute("aria-describedby", "key-error");
  return new Promise((resolve) => {
    const tried = async (event) => {
      event.preventDefault();
      const fault = await refused(entry.value.trim());
      error.hidden = !fault;
      error.textContent = fault;
      entry.setAttribute("aria-invalid", String(Boolean(fault)));
      if (fault) return entry.select();
      useKey(entry.value.trim(), { remember: remember.checked });
      dialog.close("opened");
    };
    fill(
      dialog,
      h(
        "form",
        { onsubmit: tried, novalidate: true },
        h("h2", { id: "key-title" }, problem?.title || "API key"),
        h("p", {}, "This service is closed to others. Its operator makes keys with ", h("code", {}, "stylize keys create"), "."),
        h("label", { for: "key-entry" }, "Key"),
        entry,
        error,
        h("label", { class: "check" }, remember, "Remember it in this browser"),
        h(
          "div",
          { class: "row end" },
          h("button", { type: "button", class: "secondary", onclick: () => dialog.close() }, "Not now"),
          h("button", { type: "submit", class: "primary" }, "Open"),
        ),
      ),
    );
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "opened"), { once: true });
    dialog.returnValue = "";
    dialog.showModal();
  });
}

/** Return why a key does not open the service; empty when it does. */
async function refused(token) {
  try {
    await ask("jobs?limit=1", { token });
    return "";
  } catch (fault) {
    return fault instanceof Problem ? fault.message : "The gateway does not answer.";
  }
}
