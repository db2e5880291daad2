// The tabs of one browser tell each other what they changed, so that all show the same.

const channel = new BroadcastChannel(`stylize ${new URL(".", document.baseURI).pathname}`);

/** Tell the other tabs: {made} jobs, {gone} ids of deleted jobs, {styles} changed. */
export const tell = (what) => channel.postMessage(what);

/** Hear what other tabs tell. */
export const hear = (then) => channel.addEventListener("message", ({ data }) => then(data));
