// What a file is, by its first bytes: what the service would refuse is told before it is sent.

const TAKEN = "PNG, JPEG and WebP pictures are taken";
const SIGNS = [
  ["PNG", 0, "\x89PNG\r\n\x1a\n"],
  ["JPEG", 0, "\xff\xd8\xff"],
  ["WebP", 8, "WEBP"],
  ["GIF", 0, "GIF8"],
  ["BMP", 0, "BM"],
  ["TIFF", 0, "II*\0"],
  ["TIFF", 0, "MM\0*"],
  ["PDF", 0, "%PDF"],
  ["SVG", 0, "<svg"],
  ...["heic", "heix", "hevc", "heim", "heis", "mif1", "msf1"].map((brand) => ["HEIC", 8, brand]),
  ["AVIF", 8, "avif"],
];
const READ = ["PNG", "JPEG", "WebP"];

/** Return why a file cannot be sent as a picture; empty when it can. */
export async function refusal(file) {
  const head = String.fromCharCode(...new Uint8Array(await file.slice(0, 32).arrayBuffer()));
  const [kind] = SIGNS.find(([, at, sign]) => head.startsWith(sign, at)) || [];
  const name = `“${file.name}”`;
  if (kind === "HEIC") return `${name} is an HEIC photo, which cannot be read here: export it as JPEG, or let the iPhone take JPEG (Settings, Camera, Formats, Most Compatible)`;
  if (!READ.includes(kind)) return `${name} is ${kind ? `a ${kind} file` : "no picture"}: ${TAKEN}`;
  try {
    (await createImageBitmap(file)).close();
    return "";
  } catch {
    return `${name} is damaged: it cannot be read as a picture`;
  }
}
