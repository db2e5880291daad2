// All jobs that the page knows, as the service last told; who shows one is told when it changes.

const known = new Map();
const hidden = new Set(); // those that are being deleted
const listeners = new Set();

const FINAL = new Set(["succeeded", "failed", "canceled"]);
export const isFinal = (job) => FINAL.has(job.state);

/** Return a job, or undefined. */
export const get = (id) => known.get(id);

/** Return all jobs, newest first. */
export const all = () => [...known.values()].filter((job) => !hidden.has(job.id)).sort((a, b) => b.created_at.localeCompare(a.created_at));

/** Take what the service says of a job. A late answer never takes a final job back. */
export function put(job) {
  const before = known.get(job.id);
  if (before && isFinal(before) && !isFinal(job)) return before;
  known.set(job.id, job);
  if (hidden.has(job.id)) return job;
  for (const listener of listeners) listener(job, before);
  return job;
}

/** Forget a job that the service keeps no longer. */
export function drop(id) {
  const before = known.get(id);
  if (known.delete(id)) for (const listener of listeners) listener(null, before);
}

/** Show a job no longer, as if it were gone. */
export function hide(id) {
  hidden.add(id);
  if (known.has(id)) for (const listener of listeners) listener(null, known.get(id));
}

/** Show a job again that was hidden. */
export function reveal(id) {
  hidden.delete(id);
  if (known.has(id)) for (const listener of listeners) listener(known.get(id));
}

/** Call `listener(job, before)` at each change; `job` is null once it is gone. */
export function subscribe(listener) {
  listeners.add(listener);
}
