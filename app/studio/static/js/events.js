// Server-sent events over fetch: EventSource cannot send a key.

/** Yield the events of a body as {id, event, data, retry}. */
export async function* eventsOf(body) {
  let rest = "";
  let event = {};
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      const lines = (rest + value).split(/\r\n|\n|\r/);
      rest = lines.pop();
      for (const line of lines) {
        if (line) {
          noted(event, line);
          continue;
        }
        if (event.data !== undefined) yield event;
        event = {};
      }
    }
  } finally {
    await reader.cancel();
  }
}

function noted(event, line) {
  const [, field, value] = /^([^:]*):? ?([^]*)$/.exec(line);
  if (field === "data" && event.data !== undefined) event.data += `\n${value}`;
  else if (field) event[field] = value;
}
