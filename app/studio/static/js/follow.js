// Follows unfinished jobs: the oldest through its event stream, the others by looking at all of them together.
// A browser has six connections to one host, for all its windows: streams must leave some for everything else.

import { Away, call, parse, Problem, read } from "./api.js";
import { eventsOf } from "./events.js";
import * as jobs from "./jobs.js";

const STREAMS = 1;
const LOOK = 1200;
const LOOK_HIDDEN = 5000;
const PAUSE = 1500;
const MOST_PAGE = 100;
const CHANGING = "state,progress,preview,queue,images,error,warnings,timings,started_at,finished_at,expires_at";

const followed = new Map(); // id -> the AbortController of its stream, or null
let looking = null;

/** Follow a job to its end. */
export function follow(job) {
  if (jobs.isFinal(job) || followed.has(job.id)) return;
  followed.set(job.id, null);
  arrange();
}

/** Give a free stream to the job that waits longest, and let the rest be looked at. */
function arrange() {
  const ids = [...followed.keys()].sort((a, b) => age(a).localeCompare(age(b)));
  for (const id of ids) {
    const open = [...followed.values()].filter(Boolean).length;
    if (document.hidden || open >= STREAMS) break;
    if (!followed.get(id)) stream(id);
  }
  if (looking === null && [...followed.values()].includes(null)) looking = setTimeout(look, pause());
}

const age = (id) => jobs.get(id)?.created_at || "";
const pause = () => (document.hidden ? LOOK_HIDDEN : LOOK);

async function stream(id) {
  const controller = new AbortController();
  followed.set(id, controller);
  try {
    await listened(id, controller.signal);
  } catch (fault) {
    if (fault instanceof Problem && fault.status === 404) return ended(id, true);
    if (!controller.signal.aborted) await new Promise((done) => setTimeout(done, PAUSE));
  }
  if (followed.has(id)) followed.set(id, null);
  arrange();
}

/** Take the events of one job until its stream ends or it is final. */
async function listened(id, signal) {
  const answer = await call(`jobs/${id}/events`, { signal, headers: { Accept: "text/event-stream" } });
  for await (const event of eventsOf(answer.body)) {
    const job = jobs.put(parse(event.data));
    if (jobs.isFinal(job)) return ended(id);
  }
}

function ended(id, gone = false) {
  followed.delete(id);
  if (gone) jobs.drop(id);
  arrange();
}

/** Look at all followed jobs without a stream: one request for a page of jobs, one more for each not on it. */
async function look() {
  const waiting = new Set([...followed].filter(([, controller]) => !controller).map(([id]) => id));
  try {
    const page = await read(`jobs?limit=${MOST_PAGE}&fields=${CHANGING}`);
    for (const job of page.jobs) if (waiting.delete(job.id)) taken({ ...jobs.get(job.id), ...job });
    for (const id of waiting) await one(id);
  } catch (fault) {
    if (!(fault instanceof Problem || fault instanceof Away)) throw fault;
  } finally {
    looking = null;
    arrange();
  }
}

async function one(id) {
  try {
    taken(await read(`jobs/${id}`));
  } catch (fault) {
    if (!(fault instanceof Problem && fault.status === 404)) throw fault;
    ended(id, true);
  }
}

function taken(job) {
  if (jobs.isFinal(jobs.put(job))) ended(job.id);
}

document.addEventListener("visibilitychange", () => {
  if (document.hidden) for (const controller of followed.values()) controller?.abort();
  arrange();
});
