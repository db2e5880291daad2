"""`python -m tests.architecture.walk`: how many of our modules a warm request passes, and how often it changes file.

Counts calls of our functions in the gateway from `POST /stylize` to its answer, and in the worker from claim to commit,
per thread: a call into another file than the call before is a change. Exit status 1 when a goal is missed.
"""

import asyncio
import os
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

import httpx2

from deploy.embedded.redis import RedisProcess
from tests.support.pictures import FORM, encoded, multipart, picture

ROOT = str(Path(__file__).parents[2])
OURS = tuple(f"{ROOT}/{package}/" for package in ("app", "workers", "model_store"))
MODEL = "starter"
GOALS = {"POST /stylize": (22, 60), "claim to commit": (32, 180)}
TYPE = {"Content-Type": "multipart/form-data; boundary=x"}


@dataclass
class Recorder:
    """The files that the calls of each thread lie in, while it is on."""

    on: bool = False
    walks: dict[int, list[str]] = field(default_factory=dict)
    entered: set[FrameType] = field(default_factory=set)

    def __call__(self, frame: FrameType, event: str, _: object) -> None:
        file = frame.f_code.co_filename
        if self.on and event == "call" and file.startswith(OURS) and frame not in self.entered:
            self.entered.add(frame)  # a coroutine that goes on is no new call
            walk = self.walks.setdefault(threading.get_ident(), [])
            if not walk or walk[-1] != file:
                walk.append(file)

    @contextmanager
    def recording(self) -> Iterator[None]:
        self.walks.clear()
        self.entered.clear()
        self.on = True
        yield
        self.on = False

    def told(self, what: str, *, verbose: bool) -> bool:
        """Print what was recorded; return whether it meets the goal."""
        modules = sorted({file.removeprefix(f"{ROOT}/") for walk in self.walks.values() for file in walk})
        changes = sum(len(walk) - 1 for walk in self.walks.values())
        most_modules, most_changes = GOALS[what]
        print(f"{what}: {len(modules)} modules (at most {most_modules}), {changes} changes of file ({most_changes})")
        if verbose:
            print("".join(f"    {module}\n" for module in modules), end="")
        return len(modules) <= most_modules and changes <= most_changes


async def post_twice(recorder: Recorder, environ: dict[str, str]) -> None:
    os.environ |= environ
    from app.main import create_app
    from app.settings import GatewaySettings

    app = create_app(GatewaySettings.read())
    body = multipart({**FORM, "model": MODEL, "width": "128", "height": "128"}, {"style_image": encoded(picture())})
    transport = httpx2.ASGITransport(app=app)
    async with (
        app.router.lifespan_context(app),
        httpx2.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client,
    ):
        (await client.post("/stylize", content=body, headers=TYPE)).raise_for_status()
        await asyncio.sleep(1.0)
        with recorder.recording():
            (await client.post("/stylize", content=body, headers=TYPE)).raise_for_status()


def work_twice(recorder: Recorder, environ: dict[str, str]) -> None:
    os.environ |= environ | {"STYLIZE_WORKER_BATCH_PICTURES": "1"}
    from workers.__main__ import quiet_libraries, worker
    from workers.settings import WorkerSettings

    quiet_libraries()
    runner = worker(WorkerSettings.read()).runner
    runner.run(tuple(runner._claims()))
    runner._publisher.finish()
    with recorder.recording():
        runner.run(tuple(runner._claims()))
        runner._publisher.finish()


def main() -> int:
    verbose = "-v" in sys.argv[1:]
    recorder = Recorder()
    threading.setprofile(recorder)
    sys.setprofile(recorder)
    with tempfile.TemporaryDirectory() as folder, RedisProcess(Path(folder) / "redis") as redis:
        environ = {
            "STYLIZE_REDIS_URL": redis.url,
            "STYLIZE_BLOB_URL": f"file:{folder}/blobs",
            "STYLIZE_MODELS": MODEL,
            "STYLIZE_MODEL_DIR": f"{folder}/models",
            "STYLIZE_WORKER_PREVIEW_SECONDS": "0",
        }
        asyncio.run(post_twice(recorder, environ))
        good = recorder.told("POST /stylize", verbose=verbose)
        work_twice(recorder, environ)
        return 0 if recorder.told("claim to commit", verbose=verbose) and good else 1


if __name__ == "__main__":
    sys.exit(main())
