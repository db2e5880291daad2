// What is entered in the form, as data: read to be kept, and entered again after a reload.

import { byId } from "./dom.js";
import { keepDraft, keptDraft } from "./draft.js";

const LATER = 250;
const ENTRIES = ["seed-count", "strengths"];

/** Enter what was kept of a form, and keep what is entered from then on. `offered` resolves once the methods are there. */
export async function surviveReload(maker, offered) {
  const draft = await keptDraft();
  const empty = !maker.prompt.text && !maker.style.count;
  if (draft && empty) enterAtOnce(maker, draft);
  await offered;
  if (draft && empty) enterForMethods(maker, draft);
  watch(maker);
}

function watch(maker) {
  const { form } = maker;
  let timer = null;
  const changed = () => {
    form.dataset.kept = "false";
    clearTimeout(timer);
    timer = setTimeout(async () => {
      form.dataset.kept = String(await keepDraft(entered(maker)));
    }, LATER);
  };
  for (const kind of ["input", "change", "entered"]) form.addEventListener(kind, changed);
}

function entered(maker) {
  const held = ({ style, items }) => ({ style, items: items.map(({ file, weight }) => ({ file, weight })) });
  return {
    prompt: byId("prompt").value,
    mode: maker.form.elements.mode.value,
    methods: maker.methods.chosen().map(({ name }) => name),
    strength: maker.strength.value,
    seed: maker.seed.locked ? byId("seed").value : "",
    settings: maker.settings.entered(),
    entries: ENTRIES.map((id) => byId(id).value),
    knobs: [...maker.knobs].map(([name, knobs]) => [name, knobs.read()]),
    pictures: places(maker).map(held),
  };
}

/** Return what holds pictures; the mask last, which another content picture clears. */
const places = ({ style, content, control, mask }) => [style, content, control, mask.picked];

function enterAtOnce(maker, draft) {
  maker.prompt.write(draft.prompt);
  if (draft.seed) maker.seed.lock(draft.seed);
  ENTRIES.forEach((id, n) => (byId(id).value = draft.entries[n]));
  maker.settings.write(draft.settings);
  places(maker).forEach((picked, n) => draft.pictures[n] && picked.hold(draft.pictures[n]));
}

function enterForMethods(maker, draft) {
  maker.settings.write(draft.settings);
  maker.choose(draft.methods, draft.mode, draft.strength);
  for (const [name, params] of draft.knobs) maker.knobs.get(name)?.write(params);
}
