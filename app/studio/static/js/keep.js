// What this browser keeps of the page. Where storage is forbidden nothing is kept, and the page works all the same.

/** Return what is kept under a name, or null. */
export function kept(name, storage = "localStorage") {
  try {
    return window[storage].getItem(`stylize.${name}`);
  } catch {
    return null;
  }
}

/** Keep a text under a name; null forgets it. Returns whether that was possible. */
export function keep(name, text, storage = "localStorage") {
  try {
    if (text === null) window[storage].removeItem(`stylize.${name}`);
    else window[storage].setItem(`stylize.${name}`, text);
    return true;
  } catch {
    return false;
  }
}
