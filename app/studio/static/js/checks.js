// What is known to be wrong before anything is sent, in the words of the page.

const pictures = (number) => (number === 0 ? "no style picture" : number === 1 ? "one style picture" : `${number} style pictures`);

/** Return how many style pictures methods take together, for people. */
export function wanted(methods) {
  if (!methods.length) return "";
  const [least, most] = bounds(methods);
  if (most < least) return "the chosen methods take different numbers";
  if (most === 0) return "none: the method has a style of its own";
  return most === 1 ? "one picture" : `up to ${most} pictures`;
}

/** Return the numbers of style pictures that all the methods take. */
function bounds(methods) {
  const all = methods.map(({ inputs }) => inputs.references);
  return [Math.max(...all.map(([least]) => least)), Math.min(...all.map(([, most]) => most))];
}

/** Return whether more style pictures are picked than a chosen method takes. */
export const tooMany = (methods, picked) => methods.length > 0 && picked > bounds(methods)[1];

/** Return the faults of what is to be sent, as the service tells its own: [{pointer, detail}]. `params` are by method. */
export function faultsOf({ methods, prompt, styles, hasContent, params }) {
  const faults = [];
  if (!prompt && methods.some(({ inputs }) => inputs.driven_by === "text")) faults.push({ pointer: "#/prompt", detail: "say what to draw" });
  for (const { name, title, inputs } of methods) {
    const [least, most] = inputs.references;
    const instead = inputs.instead_of_references && params[name]?.[inputs.instead_of_references];
    if (styles > most) faults.push({ pointer: "#/style_image", detail: `${title} takes ${most > 1 ? `at most ${pictures(most)}` : pictures(most)}, ${styles} ${styles === 1 ? "is" : "are"} picked` });
    else if (styles < least && !(instead && styles === 0)) faults.push({ pointer: "#/style_image", detail: `${title} needs ${pictures(least)}: drop one, or take an example` });
    if (inputs.content_image === "required" && !hasContent) faults.push({ pointer: "#/content_image", detail: `${title} needs a content picture to repaint` });
  }
  return faults;
}
