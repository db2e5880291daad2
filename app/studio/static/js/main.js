// Puts the page together.

import { Away, call, listen, Problem, read } from "./api.js";
import * as connection from "./connection.js";
import { add, catchDrops } from "./dropzone.js";
import { announce, byId, complain, fill, icon } from "./dom.js";
import { Gallery } from "./gallery.js";
import { surviveReload } from "./entered.js";
import * as keys from "./key.js";
import { Maker } from "./maker.js";
import { notice } from "./notice.js";
import { file, inputPath, pathOf } from "./pictures.js";
import { picturesIn } from "./picked.js";
import { hear } from "./tabs.js";
import { Viewer } from "./viewer.js";

const COLD = 4000;
const desk = { title, open, again, download, downloadAll, save, keepSeed };
const examples = { styles: [], contents: [], methods: {} };
const offered = Promise.withResolvers(); // once the methods are there
let methods = [];
let maker;
let entering;
let gallery;
let viewer;

listen({ reached: connection.reached, lost: connection.lost, locked: keys.askForKey });
connection.install();
keys.install();
themed();
window.addEventListener("unhandledrejection", (event) => {
  if (!(event.reason instanceof Problem || event.reason instanceof Away)) return;
  event.preventDefault();
  complain(event.reason.message);
});
start();

/** Open the form and the wall at once; what the service offers is shown when it is there. */
async function start() {
  gallery = new Gallery(desk);
  viewer = new Viewer(desk);
  maker = new Maker(gallery, examples, load);
  install();
  connection.whenBack(() => (methods.length ? gallery.load() : load()));
  entering = surviveReload(maker, offered.promise);
  Object.assign(examples, await read("studio/examples/examples.json"));
  await load();
}

/** Read what the service offers, and the wall. What fails is told in one line, and the rest is there all the same. */
async function load() {
  maker.drawShelves();
  const answers = await tried("Nothing can be made here now", () => Promise.all([read("methods"), read("models")]));
  if (!answers) {
    document.body.dataset.loading = "failed";
    return;
  }
  const first = !methods.length;
  methods = answers[0].methods;
  maker.offer(methods, answers[1].models);
  offered.resolve();
  await entering;
  delete document.body.dataset.loading;
  if (first) watchWorkers();
  await tried("The pictures cannot be listed", () => Promise.all([gallery.load(), maker.styleShelf.reload()]));
  await viewer.follow();
}

/** Return what an action gives; null where the service refuses, which one line then says. */
async function tried(what, action) {
  try {
    return await action();
  } catch (fault) {
    if (!(fault instanceof Problem)) throw fault;
    if (fault.status === 401) notice("This service needs an API key.", "Enter a key", load);
    else notice(`${what}: ${fault.message}.`, "Try again", load);
    return null;
  }
}

function title(name) {
  return methods.find((method) => method.name === name)?.title || name;
}

function open(id, number = 0) {
  location.hash = number ? `job=${id}&picture=${number}` : `job=${id}`;
}

/** Put a job's recipe into the form, its pictures included. */
async function again(job) {
  const { style_images: styles = [], ...recipe } = job.recipe;
  const fetched = (names) => Promise.all(names.filter(Boolean).map((sha256) => file(inputPath(sha256), `${sha256.slice(0, 12)}.png`)));
  const single = ["content_image", "control_image", "mask_image"];
  const [style_image, ...others] = await Promise.all([fetched(styles), ...single.map((name) => fetched([recipe[name]]))]);
  maker.take(job.recipe, { style_image, ...Object.fromEntries(single.map((name, n) => [name, others[n]])) });
  byId("submit").focus();
  announce(`The form has the recipe of ${title(job.method)} now; seed ${job.recipe.seed} is locked`);
}

function keepSeed(seed) {
  maker.seed.lock(seed);
  byId("seed").focus();
}

function download(job, number = 0) {
  const kind = job.images[number].content_type.split("/")[1].replace("jpeg", "jpg");
  return save(pathOf(job, number), `${job.method}-${job.images[number].seed}.${kind}`);
}

/** Save all pictures of a job: one as it is, several as a zip. */
function downloadAll(job) {
  return job.images.length > 1 ? save(`jobs/${job.id}/zip`, `${job.method}-${job.images[0].seed}.zip`) : download(job);
}

/** Save what is at a path as a file; fetched first, so that it works with a key. */
async function save(path, name) {
  const address = URL.createObjectURL(await (await call(path)).blob());
  const link = document.createElement("a");
  link.href = address;
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(address), 10_000);
}

/** Take pictures that are dropped or pasted anywhere as style pictures. */
function install() {
  catchDrops(document.body, (files) => add(maker.style, files, "style"));
  hear(({ styles }) => styles && maker.styleShelf.reload());
  document.addEventListener("paste", (event) => {
    const files = picturesIn(event.clipboardData);
    if (!files.length || document.querySelector("dialog[open]")) return;
    event.preventDefault();
    const content = byId("content-field").contains(document.activeElement);
    add(content ? maker.content : maker.style, files, content ? "content" : "style");
  });
}

/** Say while no worker is ready, and take the methods anew until one is. */
async function watchWorkers() {
  const warm = methods.some((method) => method.warm);
  byId("service").textContent = warm ? "" : "No worker is ready yet; what you send waits in line.";
  if (warm) return;
  await new Promise((done) => setTimeout(done, COLD));
  try {
    methods = (await read("methods")).methods;
    if (methods.some((method) => method.warm)) maker.offer(methods);
  } finally {
    watchWorkers();
  }
}

function themed() {
  const control = byId("theme");
  const draw = (theme) => {
    control.setAttribute("aria-label", `Theme: ${theme}`);
    control.title = `Theme: ${theme}`;
    fill(control, icon(theme));
  };
  draw(window.stylizeTheme.current());
  control.addEventListener("click", () => draw(window.stylizeTheme.next()));
}
