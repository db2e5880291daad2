// The request behind a picture, to run elsewhere: it makes the same picture again.

import { stringify } from "./api.js";
import { attach } from "./dom.js";

const shell = (text) => `'${text.replaceAll("'", `'\\''`)}'`;
const here = () => new URL(".", document.baseURI).href.replace(/\/$/, "");

/** Return the command that posts a job's recipe. */
export function curl(job, withKey) {
  const parts = ["curl -sS", `--form-string recipe=${shell(stringify(job.recipe))}`, withKey && '-H "Authorization: Bearer $STYLIZE_KEY"', `-H 'Prefer: wait=60'`, shell(`${here()}/stylize`)];
  return parts.filter(Boolean).join(" \\\n  ");
}

/** Return the program that posts a job's recipe and writes its pictures. */
export function python(job, withKey) {
  return [
    "# stylize_client: pip install ./app/client in a checkout of Stylize",
    ...(withKey ? ["import os", ""] : []),
    "from stylize_client import Client",
    "",
    `recipe = r'''${stringify(job.recipe).replaceAll("'''", "\\u0027\\u0027\\u0027")}'''`,
    "",
    `with Client(${JSON.stringify(here())}${withKey ? ', key=os.environ["STYLIZE_KEY"]' : ""}) as stylize:`,
    "    job = stylize.submit_recipe(recipe.encode())",
    '    print(*stylize.download(stylize.wait(job), "out"))',
    "",
  ].join("\n");
}

/** Copy a text. Returns whether that was possible. */
export async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return byHand(text); // no clipboard outside https and localhost
  }
}

function byHand(text) {
  const area = document.createElement("textarea");
  area.value = text;
  area.className = "visually-hidden";
  attach(document.querySelector("dialog[open]") || document.body, area);
  area.select();
  const done = document.execCommand("copy");
  area.remove();
  return done;
}
