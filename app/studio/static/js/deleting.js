// Jobs, comparisons and saved styles are deleted in the service once nobody has taken it back.

import { call, Problem } from "./api.js";
import { complain } from "./dom.js";
import * as jobs from "./jobs.js";
import { tell } from "./tabs.js";
import { deleteLater } from "./undo.js";

/** Delete final jobs: what is at `path`, which holds all of them. */
export function deleteJobs(path, ids, text) {
  for (const id of ids) jobs.hide(id);
  const undo = () => ids.forEach(jobs.reveal);
  const commit = async () => {
    tell({ gone: ids }); // at once: a page that is left hears no answer
    if (await deleted(path)) return ids.forEach(jobs.drop);
    undo();
    tell({ made: true });
  };
  deleteLater(text, { commit, undo });
}

/** Delete a saved style, which is shown no longer; `shown` shows it again. */
export function deleteStyle(style, shown) {
  const commit = async () => {
    if (!(await deleted(`styles/${style.id}`))) return shown();
    tell({ styles: true });
  };
  deleteLater(`The style “${style.name}” is deleted.`, { commit, undo: shown });
}

/** Return whether what is at a path is there no longer. A page that is left still sends it. */
async function deleted(path) {
  try {
    await call(path, { method: "DELETE", keepalive: true });
    return true;
  } catch (fault) {
    if (fault instanceof Problem && fault.status === 404) return true;
    complain(`Not deleted: ${fault.message}`);
    return false;
  }
}
