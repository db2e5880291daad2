"""The real service for tests and benchmarks: Redis, gateway, sweeper and workers as processes that can be killed."""

import random
import signal
import socket
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2

from deploy.embedded.demo import EXAMPLES, ready
from deploy.embedded.processes import ChildProcess
from deploy.embedded.redis import RedisProcess
from deploy.embedded.stack import end, python
from tests.support.tiny.store import install_tiny_models

MODEL = "tiny-sd15"
FINAL = ("succeeded", "failed", "canceled")
PATIENCE = 300.0
"""Seconds: generous, because a busy machine is no failure."""
LEASE = 6.0
PORTS = range(20_000, 32_000)
"""Below those that the kernel gives to whoever asks for any: what is free now is still free when it is needed."""


def free_port() -> int:
    """Return a port of the loopback address that nobody listens on, and that no other test gets.

    A name in the kernel keeps it until this process ends.
    """
    for port in random.SystemRandom().sample(PORTS, len(PORTS)):
        with socket.socket(socket.AF_UNIX) as name, socket.socket() as probe:
            try:
                name.bind(f"\0stylize test port {port}")
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            name.detach()  # it stays until this process ends
            return port
    raise AssertionError("no port is free")


def style_file() -> dict[str, tuple[str, bytes, str]]:
    return {"style_image": ("style.png", (EXAMPLES / "style.png").read_bytes(), "image/png")}


def quick(**fields: Any) -> dict[str, str]:
    """The fields of a job that takes a fraction of a second."""
    defaults = {"prompt": "a house", "method": "signal-leak", "width": 64, "height": 64, "steps": 2, "seed": 7}
    return {name: str(value) for name, value in (defaults | fields).items()}


def slow(**fields: Any) -> dict[str, str]:
    """The fields of a job that is long enough to be interrupted."""
    return quick(steps=150, **fields)


class Service:
    """The processes of a service; `worker(n)`, `gateway` and `sweeper` are children that a test may kill or start."""

    def __init__(
        self, folder: Path, models: Path, *, workers: int = 1, environ: Mapping[str, str] | None = None
    ) -> None:
        self.redis = RedisProcess(folder / "redis")
        self.port = free_port()
        self.redis.start()
        shared = {
            "STYLIZE_REDIS_URL": self.redis.url,
            "STYLIZE_BLOB_URL": f"file:{folder / 'blobs'}",
            "STYLIZE_MODEL_DIR": str(models),
            "STYLIZE_MODELS": MODEL,
            "STYLIZE_LEASE_SECONDS": str(LEASE),
            "STYLIZE_SWEEPER_PERIOD_SECONDS": "0.5",
            "STYLIZE_GATEWAY_PORT": str(self.port),
            "OMP_NUM_THREADS": "1",
            **(environ or {}),
        }
        if shared["STYLIZE_MODELS"] == MODEL:
            install_tiny_models(models)
        self.environ = shared
        self.gateway = ChildProcess("gateway", self.gateway_command(), shared)
        self.sweeper = ChildProcess("sweeper", python("workers.sweeper"), shared)
        self.workers = [
            ChildProcess(f"worker {n}", self.worker_command(), shared | self.worker_environ(n)) for n in range(workers)
        ]
        self.client = httpx2.Client(base_url=f"http://127.0.0.1:{self.port}", timeout=PATIENCE)

    def gateway_command(self) -> tuple[str, ...]:
        return python("app")

    def worker_command(self) -> tuple[str, ...]:
        return python("workers")

    def worker_environ(self, n: int) -> dict[str, str]:
        return {"STYLIZE_WORKER_ID": f"worker-{n}"}

    @property
    def children(self) -> tuple[ChildProcess, ...]:
        return (self.gateway, self.sweeper, *self.workers)

    def start(self) -> None:
        for child in self.children:
            child.start()
        until(lambda: ready(self.client), "the service is ready")

    def close(self) -> None:
        self.client.close()
        end(self.children)
        self.redis.stop()

    def submit(self, fields: Mapping[str, str], **kwargs: Any) -> dict[str, Any]:
        accepted = self.client.post("/stylize", data=fields, files=style_file(), **kwargs)
        assert accepted.status_code == httpx2.codes.ACCEPTED, accepted.text
        return dict(accepted.json())

    def job(self, job_id: str) -> dict[str, Any]:
        return dict(self.client.get(f"/jobs/{job_id}").raise_for_status().json())

    def finished(self, job_id: str) -> dict[str, Any]:
        return finished(self.client, job_id)

    def running(self, job_id: str, *, step: int = 1) -> dict[str, Any]:
        """Return the job once it has made some steps."""

        def far_enough() -> bool:
            job = self.job(job_id)
            assert job["state"] not in FINAL, f"too quick to interrupt: {job}"
            return job["state"] == "running" and (job["progress"] or {"step": 0})["step"] >= step

        until(far_enough, "the job is running")
        return self.job(job_id)

    def published(self, job_id: str) -> int:
        """Return how many pictures the job shows."""
        return len(self.job(job_id)["images"])


def finished(client: httpx2.Client, job_id: str, *, patience: float = PATIENCE) -> dict[str, Any]:
    """Return the job once it is final."""
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        job = dict(client.get(f"/jobs/{job_id}").raise_for_status().json())
        if job["state"] in FINAL:
            return job
        time.sleep(0.01)
    raise AssertionError(f"not finished in {patience:.0f} s: {job}")


def until(condition: Any, what: str, *, patience: float = PATIENCE) -> float:
    """Wait until the condition holds; return the seconds it took."""
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < patience, f"never: {what}"
        time.sleep(0.05)
    return time.monotonic() - began


def kill(child: ChildProcess, signum: int = signal.SIGKILL) -> None:
    """Send a signal; after SIGKILL, wait until the process is gone."""
    assert child.process is not None
    child.process.send_signal(signum)
    if signum == signal.SIGKILL:
        child.process.wait(PATIENCE)


@contextmanager
def service(models: Path, **kwargs: Any) -> Iterator[Service]:
    """A ready service in a temporary folder, ended afterwards."""
    with tempfile.TemporaryDirectory(prefix="stylize-test-") as folder:
        running = Service(Path(folder), models, **kwargs)
        try:
            running.start()
            yield running
        finally:
            running.close()
