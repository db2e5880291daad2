// Controls from a JSON Schema: a technique's own knobs, whatever they are. Untouched ones are not sent.

import { parse } from "./api.js";
import { h } from "./dom.js";
import { field, numberEntry, select } from "./field.js";

const LONG_TEXT = 200;
const WORTH_SAYING = 1e9;

/** The knobs of one method. */
export class Knobs {
  constructor(method) {
    this.method = method;
    this.parts = new Map();
    const { properties = {} } = method.parameters;
    for (const [name, schema] of Object.entries(properties)) {
      if (!schema["x-no-effect"]) this.parts.set(name, control(schema, method.parameters, name));
    }
  }

  /** Return the fields: those worth a first try, in plain words, before a fold with those for experts. */
  fields() {
    const main = this.method.main_parameters || {};
    const [plainly, rest] = [Object.keys(main), [...this.parts.keys()].filter((name) => !(name in main))];
    if (!plainly.length) return this.#fieldsOf(rest, main);
    const expert = h("details", { class: "fold" }, h("summary", {}, "For experts"), h("div", { class: "fold-body" }, this.#fieldsOf(rest, main)));
    return [...this.#fieldsOf(plainly, main), rest.length > 0 && expert];
  }

  #fieldsOf(names, main) {
    return names.map((name) => [name, this.parts.get(name)]).map(([name, part]) =>
      field({
        label: part.schema.title || name,
        hint: [main[name] || part.schema.description, part.range].filter(Boolean).join(" · ").replaceAll("`", ""),
        control: part.node,
        pointer: `params/${name}`,
        data: { method: this.method.name },
        inline: part.node.type === "checkbox",
      }),
    );
  }

  /** Return what was set, by name. */
  read() {
    const set = [...this.parts].map(([name, part]) => [name, part.read()]).filter(([, value]) => value !== undefined);
    return Object.fromEntries(set);
  }

  /** Set the controls to a recipe's parameters. */
  write(params) {
    for (const [name, part] of this.parts) part.write(params[name] ?? part.schema.default ?? null);
  }
}

/** Return {schema, node, range, read, write} for one property. */
function control(given, root, name) {
  const { schema, nullable } = plain(given, root);
  const shown = { ...schema, title: words(schema.title || name), description: given.description || schema.description, default: given.default };
  const kind = schema.enum || schema.const !== undefined ? "enum" : Array.isArray(schema.type) ? "" : schema.type;
  const make = { enum: choice, boolean: nullable ? maybe : toggle, integer: number, number, string: text, array: list }[kind] || json;
  return { schema: shown, range: rangeOf(schema), ...make(schema, shown.default, nullable) };
}

/** Return the schema behind references and `null` alternatives. */
function plain(schema, root) {
  const found = schema.$ref ? { ...resolved(schema.$ref, root), ...schema } : schema;
  const ways = found.anyOf || found.oneOf || found.allOf;
  if (!ways) return { schema: found, nullable: false };
  const real = ways.filter((way) => way.type !== "null");
  if (real.length !== 1) return { schema: { ...found, type: "" }, nullable: real.length < ways.length };
  return { schema: { ...plain(real[0], root).schema, title: found.title }, nullable: real.length < ways.length };
}

const resolved = (reference, root) =>
  reference.replace(/^#\//, "").split("/").reduce((node, part) => node?.[part], root) || {};

const words = (name) => name.replace(/_/g, " ").replace(/^./, (letter) => letter.toUpperCase());

function rangeOf(schema) {
  const low = schema.minimum ?? schema.exclusiveMinimum;
  const high = schema.maximum ?? schema.exclusiveMaximum;
  const told = (bound) => bound !== undefined && Math.abs(Number(bound)) < WORTH_SAYING;
  if (told(low) && told(high)) return `${low} to ${high}`;
  return told(low) ? `from ${low}` : told(high) ? `up to ${high}` : "";
}

const shownDefault = (value) => (value === null || value === undefined ? "automatic" : typeof value === "object" ? parseable(value) : String(value));
const parseable = (value) => (Array.isArray(value) && value.every((part) => typeof part !== "object") ? value.join(", ") : JSON.stringify(value));
const same = (a, b) => JSON.stringify(a) === JSON.stringify(b);

function choice(schema, preset, nullable) {
  const options = (schema.enum || [schema.const]).map((value) => [JSON.stringify(value), String(value)]);
  const node = select(nullable ? [["null", "automatic"], ...options] : options);
  return chosen(node, preset ?? null);
}

function maybe(_, preset) {
  const node = select([["null", "automatic"], ["true", "yes"], ["false", "no"]]);
  return chosen(node, preset ?? null);
}

function chosen(node, preset) {
  const write = (value) => {
    node.value = JSON.stringify(value);
  };
  write(preset);
  return { node, write, read: () => (node.value === JSON.stringify(preset) || !node.value ? undefined : JSON.parse(node.value)) };
}

function toggle(_, preset) {
  const node = h("input", { type: "checkbox" });
  const write = (value) => {
    node.checked = Boolean(value);
  };
  write(preset);
  return { node, write, read: () => (node.checked === Boolean(preset) ? undefined : node.checked) };
}

function number(schema, preset) {
  return entered(numberEntry(shownDefault(preset), schema.type === "integer"), preset, (words) => scalar(words, schema));
}

function text(schema, preset) {
  const long = (schema.maxLength || 0) > LONG_TEXT;
  const node = long ? h("textarea", { rows: 2 }) : h("input", { type: "text", autocomplete: "off" });
  node.placeholder = preset ? String(preset) : "";
  return entered(node, preset, (words) => words.replace(/\s*\n\s*/g, " "));
}

function list(schema, preset) {
  const flat = schema.items && schema.items.type !== "array" && schema.items.type !== "object" && !schema.items.$ref;
  if (!flat && !schema.prefixItems) return json(schema, preset);
  const items = schema.items || schema.prefixItems[0];
  const node = h("input", { type: "text", autocomplete: "off", placeholder: shownDefault(preset) });
  return entered(node, preset, (words) => words.split(",").map((part) => scalar(part.trim(), items)));
}

function json(_, preset) {
  const node = h("textarea", { rows: 2, spellcheck: "false", class: "code", placeholder: `JSON, such as ${shownDefault(preset)}` });
  return entered(node, preset, (words) => {
    try {
      return parse(words);
    } catch {
      return words; // no JSON: the service says so
    }
  });
}

function entered(node, preset, meant) {
  return {
    node,
    read: () => (node.value.trim() === "" ? undefined : meant(node.value.trim())),
    write: (value) => {
      node.value = value === null || same(value, preset ?? null) ? "" : typeof value === "object" ? parseable(value) : String(value);
    },
  };
}

function scalar(words, schema) {
  if (schema.type === "string") return words;
  return /^-?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i.test(words) ? numeric(words) : words;
}

function numeric(words) {
  const value = Number(words);
  return Number.isInteger(value) && !Number.isSafeInteger(value) && /^-?\d+$/.test(words) ? BigInt(words) : value;
}
