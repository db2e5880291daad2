// The public API, and how its errors arrive here. Addresses are relative, so the page works below any prefix.

import { keep, kept } from "./keep.js";

/** The service refused: `document` is its RFC 9457 problem. */
export class Problem extends Error {
  constructor(document, status, retryAfter) {
    super(document.detail || document.title || `the service answered ${status}`);
    this.title = document.title || "The service refused";
    this.errors = document.errors || [];
    this.status = status;
    this.retryAfter = retryAfter;
  }
}

/** Nobody answered. */
export class Away extends Error {}

/** Return JSON with every digit of large whole numbers: seeds go up to 2^63. */
export const parse = (text) =>
  JSON.parse(text, (_, value, context) =>
    typeof value === "number" && Number.isInteger(value) && !Number.isSafeInteger(value) && context?.source
      ? BigInt(context.source)
      : value,
  );

/** Return the text of a value that `parse` gave. */
export const stringify = (value, indent) =>
  JSON.stringify(value, (_, part) => (typeof part === "bigint" ? JSON.rawJSON(String(part)) : part), indent);

let current = kept("key", "sessionStorage") || kept("key");
const listeners = { reached: () => {}, lost: async () => {}, locked: async () => false };

/** Be told when the gateway answers, when it does not (resolve once it does) and when it asks for a key (resolve true once there is one). */
export function listen(heard) {
  Object.assign(listeners, heard);
}

/** Return the API key in use, or null. */
export const key = () => current;

/** Use a key from now on, for this visit or for good. */
export function useKey(text, { remember = false } = {}) {
  current = text;
  keep("key", remember ? null : text, "sessionStorage");
  keep("key", remember ? text : null);
}

const authorization = (token) => (token ? { Authorization: `Bearer ${token}` } : {});

/** Ask without any of the consequences below. Throws Away or Problem. */
export async function ask(path, { token = key(), headers = {}, ...options } = {}) {
  let answer;
  try {
    answer = await fetch(path, { ...options, headers: { ...authorization(token), ...headers } });
  } catch (fault) {
    if (fault.name === "AbortError") throw fault;
    throw new Away("the gateway does not answer");
  }
  if (answer.ok) return answer;
  throw new Problem(await described(answer), answer.status, Number(answer.headers.get("Retry-After")) || 0);
}

/** Return the problem document of an answer; a proxy before the gateway may have sent none. */
async function described(answer) {
  const kind = answer.headers.get("Content-Type") || "";
  return kind.includes("json") ? parse(await answer.text()) : {};
}

/** Ask; who needs a key is asked for it, then it goes on. What only reads waits for a gateway that is away. Throws Away or Problem. */
export async function call(path, options = {}) {
  try {
    const answer = await ask(path, options);
    listeners.reached();
    return answer;
  } catch (fault) {
    if (fault instanceof Away) {
      const back = listeners.lost();
      if (options.method) throw fault;
      await back;
      return call(path, options);
    }
    if (fault instanceof Problem) listeners.reached();
    if (fault instanceof Problem && fault.status === 401 && (await listeners.locked(fault))) return call(path, options);
    throw fault;
  }
}

/** Return the document at an address. */
export async function read(path, options) {
  return parse(await (await call(path, options)).text());
}

/** Post a form under an Idempotency-Key: sent twice, it counts once. Returns the answer's document. */
export async function post(path, form, once) {
  return read(path, { method: "POST", body: form, headers: once ? { "Idempotency-Key": once } : {} });
}

/** Return an identity nobody else has. */
export function identity() {
  return [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}
