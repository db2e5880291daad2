// The pictures that are picked for one field: files, or a saved style that stands for some.

/** What a field holds. Calls `changed` after each change. */
export class Picked {
  constructor(most, changed) {
    this.most = most;
    this.items = []; // {file, address, name, weight}
    this.style = null;
    this.awaited = null; // the files that were asked for last, unless something else was picked since
    this.checked = null; // resolves once all that was added is known to be pictures
    this.refusals = 0; // how many files turned out to be no pictures
    this.refused = ""; // why the last file that was none was not taken, until another is added
    this.refuse = () => {}; // says at the field why a file was not taken; empty takes it back
    this.changed = changed;
  }

  get count() {
    return this.style ? this.style.references.length : this.items.length;
  }

  /** Add files; a field for one picture takes the last. Returns how many did not fit. */
  add(files) {
    this.awaited = this.style = null;
    this.refuse("");
    const added = files.map((file) => ({ file, address: URL.createObjectURL(file), name: file.name, weight: "" }));
    const all = [...this.items, ...added];
    const fit = this.most === 1 ? all.slice(-1) : all.slice(0, this.most);
    for (const item of all) if (!fit.includes(item)) URL.revokeObjectURL(item.address);
    this.items = fit;
    this.changed();
    return this.most === 1 ? Math.max(0, files.length - 1) : all.length - fit.length;
  }

  /** Hold these files and nothing else. */
  replace(files) {
    this.clear({ silently: true });
    this.add(files);
  }

  /** Hold the file that is being fetched and nothing else, unless something else is picked meanwhile. */
  async fetch(file) {
    this.awaited = file;
    const fetched = await file;
    if (this.awaited === file) this.replace([fetched]);
  }

  /** Hold a saved style and nothing else; null lets it go. */
  take(style) {
    this.clear({ silently: true });
    this.style = style;
    this.changed();
  }

  /** Hold what was held before a reload: {style, items: [{file, weight}]}. */
  hold({ style, items }) {
    this.items = items.map(({ file, weight }) => ({ file, address: URL.createObjectURL(file), name: file.name, weight }));
    this.style = style;
    this.changed();
  }

  remove(item) {
    this.items = this.items.filter((one) => one !== item);
    URL.revokeObjectURL(item.address);
    this.changed();
  }

  clear({ silently = false } = {}) {
    for (const item of this.items) URL.revokeObjectURL(item.address);
    this.items = [];
    this.awaited = this.style = null;
    if (!silently) this.changed();
  }

  /** Write what is held into a form. */
  fill(form, name) {
    if (this.style) form.append("style_id", this.style.id);
    for (const { file } of this.items) form.append(name, file, file.name || "picture.png");
    const weights = this.items.map((item) => item.weight);
    if (name === "style_image" && weights.some(Boolean)) form.append("style_weights", weights.map((w) => w || "1").join(","));
  }
}

/** Return the picture files among what was pasted. */
export function picturesIn(transfer) {
  return [...(transfer?.files || [])].filter((file) => file.type.startsWith("image/"));
}
