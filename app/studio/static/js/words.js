// How a job stands, in words.

const STAGES = { load: "Loading the model", prepare: "Reading the style", denoise: "Drawing", decode: "Developing", publish: "Saving" };

/** Return how a job stands: {title, detail, fraction}; `fraction` is null while nobody can say. */
export function standing(job) {
  switch (job.state) {
    case "queued":
      return { title: place(job.queue?.position), detail: eta("starts", job.queue?.eta_start_seconds), fraction: null };
    case "running":
      return { title: stage(job.progress), detail: eta("done", job.queue?.eta_finish_seconds), fraction: job.progress?.fraction ?? 0 };
    case "canceling":
      return { title: "Stopping", detail: "", fraction: null };
    case "canceled":
      return { title: "Canceled", detail: "", fraction: null };
    case "failed":
      return { title: "Failed", detail: job.error?.detail || "", fraction: null };
    default:
      return { title: "Done", detail: seconds(total(job.timings)), fraction: 1 };
  }
}

function place(position) {
  if (position === null || position === undefined) return "Waiting";
  return position === 0 ? "Next in line" : position === 1 ? "1 job before this" : `${position} jobs before this`;
}

function stage(progress) {
  if (!progress) return "Starting";
  const name = STAGES[progress.stage] || progress.stage;
  return progress.steps > 0 ? `${name}, step ${progress.step} of ${progress.steps}` : name;
}

function eta(what, value) {
  return value === null || value === undefined || (what === "starts" && value === 0) ? "" : `${what} in about ${seconds(Math.max(1, value))}`;
}

/** Return the work on a job in seconds, the queue left out. */
export const total = (timings) =>
  timings ? Object.entries(timings).reduce((sum, [name, value]) => sum + (name === "queue" ? 0 : value), 0) : null;

/** Return a time for people. */
export function seconds(value) {
  if (value === null || value === undefined) return "";
  if (value < 10) return `${value.toFixed(1)} s`;
  if (value < 90) return `${Math.round(value)} s`;
  return value < 5400 ? `${Math.round(value / 60)} min` : `${(value / 3600).toFixed(1)} h`;
}

/** Return a date and time. */
export const date = (iso) => new Date(iso).toLocaleString([], { dateStyle: "medium", timeStyle: "short" });

/** Return when something happened: the time today, else the date. */
export function moment(iso) {
  const when = new Date(iso);
  const today = when.toDateString() === new Date().toDateString();
  return today ? when.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" }) : when.toLocaleDateString();
}
