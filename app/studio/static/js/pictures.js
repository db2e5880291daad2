// Pictures in `img` elements. Without a key the browser fetches and keeps them; with one they are fetched with it, since
// an element cannot send a key.

import { call, key } from "./api.js";

const MARGIN = "600px";
const MOST_KEPT = 200;
const AGAIN = 3000;
const GONE = [401, 403, 404, 410]; // asked again, it would answer the same
const kept = new Map(); // path -> promise of an object URL, the least recently used first

const near = new IntersectionObserver(
  (entries) => {
    for (const { isIntersecting, target } of entries) {
      if (!isIntersecting) continue;
      near.unobserve(target);
      fetched(target, target.dataset.path);
    }
  },
  { rootMargin: MARGIN },
);

/**
 * Show the picture at a path in an element, once it comes near the screen. Where the service keeps it no longer, the
 * element has an event `gone`; where it only did not answer, it is asked again until it does.
 */
export function show(image, path) {
  if (image.dataset.path === path) return;
  if (image.dataset.path) image.removeAttribute("src");
  else image.addEventListener("error", () => missed(image));
  image.dataset.path = path;
  if (!key()) image.src = path;
  else if (image.isConnected || image.loading === "lazy") near.observe(image);
  else fetched(image, path);
}

/** Return the file at a path. Throws Away or Problem. */
export async function file(path, name) {
  const content = await (await call(path)).blob();
  return new File([content], name, { type: content.type });
}

function missed(image) {
  const { path } = image.dataset;
  if (image.src.startsWith("blob:")) image.dispatchEvent(new Event("gone")); // it came, and is no picture
  else if (path) fetched(image, path);
}

async function fetched(image, path) {
  try {
    const address = await addressOf(path);
    if (image.dataset.path === path) image.src = address;
  } catch (fault) {
    kept.delete(path);
    if (image.dataset.path !== path) return;
    if (GONE.includes(fault.status)) image.dispatchEvent(new Event("gone"));
    else setTimeout(() => image.dataset.path === path && fetched(image, path), AGAIN);
  }
}

function addressOf(path) {
  const known = kept.get(path) || file(path, "picture").then(URL.createObjectURL);
  kept.delete(path);
  kept.set(path, known);
  for (const [oldest, address] of kept) {
    if (kept.size <= MOST_KEPT) break;
    kept.delete(oldest);
    address.then(URL.revokeObjectURL);
  }
  return known;
}

/** Return the path of a job's picture; the host of its address may be another than the one this page came from. */
export function pathOf(job, number = 0) {
  const [, query] = job.images[number].url.split("?");
  return `jobs/${job.id}/images/${number}${query ? `?${query}` : ""}`;
}

/** Return the path of a running job's newest preview. */
export function previewPath(job) {
  const [, query] = job.preview.split("?");
  return `jobs/${job.id}/preview${query ? `?${query}` : ""}`;
}

/** Return the path of the map that a job made. */
export function controlMapPath(job) {
  const [, query] = job.control_map.url.split("?");
  return `jobs/${job.id}/control-map${query ? `?${query}` : ""}`;
}

/** Return the path of a picture that a job or style was made with. */
export const inputPath = (sha256) => `inputs/${sha256}`;
