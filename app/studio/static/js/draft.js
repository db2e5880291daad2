// What is entered in the form survives a reload: kept in this browser for this tab, its pictures included, for a day.

import { identity } from "./api.js";
import { keep, kept } from "./keep.js";

const STORE = "drafts";
const DAY = 86_400_000;
const NAME = `stylize ${new URL(".", document.baseURI).pathname}`;

/** Return what is kept for this tab, or null. */
export async function keptDraft() {
  try {
    const store = await opened("readwrite");
    const all = await Promise.all([asked(store.getAllKeys()), asked(store.getAll())]);
    all[1].forEach(({ at }, n) => at < Date.now() - DAY && store.delete(all[0][n]));
    return all[1][all[0].indexOf(tab())]?.draft ?? null;
  } catch {
    return null; // storage is forbidden: nothing was kept
  }
}

/** Keep a draft for this tab. Returns whether that was possible. */
export async function keepDraft(draft) {
  try {
    await asked((await opened("readwrite")).put({ at: Date.now(), draft }, tab()));
    return true;
  } catch {
    return false;
  }
}

function tab() {
  const known = kept("tab", "sessionStorage");
  if (known) return known;
  const made = identity();
  keep("tab", made, "sessionStorage");
  return made;
}

async function opened(mode) {
  const request = indexedDB.open(NAME, 1);
  request.addEventListener("upgradeneeded", () => request.result.createObjectStore(STORE));
  const database = await asked(request);
  const transaction = database.transaction(STORE, mode);
  for (const end of ["complete", "abort", "error"]) transaction.addEventListener(end, () => database.close());
  return transaction.objectStore(STORE);
}

const asked = (request) =>
  new Promise((resolve, reject) => {
    request.addEventListener("success", () => resolve(request.result));
    request.addEventListener("error", () => reject(request.error));
  });
