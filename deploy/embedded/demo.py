"""The demonstration: start the embedded stack, stylize one picture with every method over HTTP, write the pictures.

`python -m deploy.embedded.demo --out out` needs nothing but this installation:
a free port and a temporary data folder are used.
"""

import argparse
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx2
from PIL import Image

from app.services.comparisons.drawing import contact_sheet

EXAMPLES = Path(__file__).parents[1] / "examples"
CONTENT = EXAMPLES / "content.png"
SEED = 7
START_SECONDS = 300.0


def main() -> int:
    """Run the demonstration; returns the exit status."""
    parser = argparse.ArgumentParser(prog="make demo", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("out"), help="folder for the pictures (default: out)")
    parser.add_argument("--style", type=Path, default=EXAMPLES / "style.png", help="the style picture")
    parser.add_argument("--prompt", default="a house", help="what to draw")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    with tempfile.TemporaryDirectory(prefix="stylize-") as data, stack(Path(data)) as client:
        demonstrate(client, arguments.style, arguments.prompt, arguments.out)
    return 0


@contextmanager
def stack(data: Path) -> Iterator[httpx2.Client]:
    """Start `stylize up` on a free port; yield a client of it once it is ready; end everything."""
    port = free_port()
    command = (sys.executable, "-m", "app.cli.main", "up", "--port", str(port), "--data-dir", str(data))
    with (data / "stack.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
    try:
        with httpx2.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:
            await_ready(client, process, data / "stack.log")
            yield client
    finally:
        process.terminate()
        process.wait()


def free_port() -> int:
    """Return a port of the loopback address that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def await_ready(client: httpx2.Client, process: subprocess.Popen[bytes], log: Path) -> None:
    """Wait for `/readyz`. Raises SystemExit with the end of the log when the stack ends or takes too long."""
    started = time.monotonic()
    while time.monotonic() - started < START_SECONDS and process.poll() is None:
        show(f"starting Redis, gateway, sweeper and a worker ... {time.monotonic() - started:.0f} s")
        if ready(client):
            show(f"ready after {time.monotonic() - started:.1f} s\n")
            return
        time.sleep(0.2)
    raise SystemExit(f"\nthe stack did not become ready:\n{log.read_text(errors='replace')[-3000:]}")


def ready(client: httpx2.Client) -> bool:
    """Return whether the service answers that it is ready."""
    try:
        return client.get("/readyz").status_code == httpx2.codes.OK
    except httpx2.TransportError:
        return False


def demonstrate(client: httpx2.Client, style: Path, prompt: str, out: Path) -> None:
    """Stylize with every available method at one seed; write each picture and a contact sheet into `out`."""
    methods = [method for method in client.get("/methods").json()["methods"] if method["available"]]
    plain = next(method for method in methods if method["inputs"]["driven_by"] == "text")
    sheet = [
        ("reference", Image.open(style).convert("RGB")),
        ("content", Image.open(CONTENT).convert("RGB")),
        ("plain", stylize(client, plain, style, prompt, out / "plain.png", strength="0")),
    ]
    for method in methods:
        picture = stylize(client, method, style, prompt, out / f"{method['name']}.png")
        sheet.append((method["name"], picture))
    contact_sheet(sheet).save(out / "contact-sheet.png")
    print(f"{out / 'contact-sheet.png'}: {', '.join(label for label, _ in sheet)}")


def stylize(
    client: httpx2.Client, method: dict[str, Any], style: Path, prompt: str, target: Path, **fields: str
) -> Image.Image:
    """Post one job, show its progress, write its picture to `target` and return it."""
    files = {"style_image": (style.name, style.read_bytes())}
    if method["inputs"]["content_image"] == "required":
        files["content_image"] = (CONTENT.name, CONTENT.read_bytes())
    form = {"prompt": prompt, "method": method["name"], "seed": str(SEED), **fields}
    accepted = client.post("/stylize", data=form, files=files)
    if accepted.status_code != httpx2.codes.ACCEPTED:
        raise SystemExit(f"POST /stylize answered {accepted.status_code}: {accepted.text}")
    job = accepted.json()
    while job["state"] in ("queued", "running"):
        progress = job["progress"] or {"stage": job["state"], "step": 0, "steps": 0}
        show(f"{target.stem}: {progress['stage']} {progress['step']}/{progress['steps']}")
        time.sleep(0.1)
        job = client.get(f"/jobs/{job['id']}").json()
    if job["state"] != "succeeded":
        raise SystemExit(f"\n{method['name']}: the job {job['state']}: {job['error']}")
    target.write_bytes(client.get(job["images"][0]["url"]).content)
    show(f"{target}: {sum(job['timings'].values()):.2f} s\n")
    return Image.open(BytesIO(target.read_bytes())).convert("RGB")


def show(line: str) -> None:
    """Write over the current line of the terminal."""
    end = "" if not line.endswith("\n") else "\n"
    print(f"\r\033[K{line.rstrip()}" if sys.stdout.isatty() or end else "", end=end, flush=True)


if __name__ == "__main__":
    sys.exit(main())
