"""The service with fake engines: real Redis, gateway, sweeper and workers, each worker behind a proxy, supervised."""

import subprocess
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2

from deploy.embedded.processes import ChildProcess
from deploy.embedded.stack import python
from tests.faults.harness.fake import expected_sha256
from tests.faults.harness.proxy import Proxy
from tests.faults.harness.watched import Journal, listening_mark, open_store
from tests.support.service import Service, style_file, until
from workers.contract.blobs.names import attempt_of
from workers.contract.jobs.models import Job
from workers.contract.jobs.store import JobStore
from workers.contract.runtime.settings import Settings

LEASE = 2.0
SETTINGS = {
    "STYLIZE_LEASE_SECONDS": str(LEASE),
    "STYLIZE_SWEEPER_PERIOD_SECONDS": "0.3",
    "STYLIZE_WORKER_STEP_TIMEOUT_SECONDS": "6",
    "STYLIZE_WORKER_STALL_SECONDS": "6",
    "STYLIZE_WORKER_GRACE_SECONDS": "2",
    "STYLIZE_LOG_LEVEL": "warning",
    "PYTHONPATH": str(Path(__file__).parents[3]),
}
PATIENT = {"STYLIZE_LEASE_SECONDS": "6", "STYLIZE_WORKER_STEP_TIMEOUT_SECONDS": "12"}
"""For tests that count attempts: a busy machine may keep a worker from its heartbeat for some seconds."""


class Stack(Service):
    """`proxies[n]` is between worker n and Redis; children that end are started again unless they are `dismissed`."""

    def __init__(
        self,
        folder: Path,
        *,
        workers: int = 2,
        step_seconds: float = 0.05,
        planted: str = "",
        sweeper: bool = True,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        self.folder = folder
        self._step_seconds = step_seconds
        self._planted = planted
        for name in ("troubles", "listening"):
            (folder / name).mkdir()
        self.journal = Journal(folder / "journal")
        super().__init__(folder, folder / "models", workers=workers, environ={**SETTINGS, **(environ or {})})
        self.proxies = [Proxy(self._socket(n), Path(self.redis.url.removeprefix("unix://"))) for n in range(workers)]
        settings = Settings(redis_url=self.redis.url, lease_seconds=float(self.environ["STYLIZE_LEASE_SECONDS"]))
        self.store: JobStore = open_store(settings, folder)
        self.dismissed: set[str] = set() if sweeper else {self.sweeper.name}
        self.tending = threading.RLock()
        self._ended = threading.Event()
        self._supervisor = threading.Thread(target=self._supervise, name="supervisor")

    def gateway_command(self) -> tuple[str, ...]:
        return (*python("tests.faults.harness.gateway"), str(self.folder))

    def worker_command(self) -> tuple[str, ...]:
        planted = ("--planted", self._planted) if self._planted else ()
        return (
            *python("tests.faults.harness.worker"),
            str(self.folder),
            "--step-seconds",
            str(self._step_seconds),
            *planted,
        )

    def worker_environ(self, n: int) -> dict[str, str]:
        return super().worker_environ(n) | {"STYLIZE_REDIS_URL": f"unix://{self._socket(n)}"}

    def start(self) -> None:
        for proxy in self.proxies:
            proxy.start()
        self._supervisor.start()
        self.await_workers()

    def close(self) -> None:
        self._ended.set()
        if self._supervisor.is_alive():
            self._supervisor.join()
        super().close()
        for proxy in self.proxies:
            proxy.close()

    def await_workers(self) -> None:
        """Wait until every worker that is not dismissed listens, says that it is warm, and the gateway answers."""
        wanted = {f"worker-{n}": child for n, child in enumerate(self.workers) if child.name not in self.dismissed}
        until(lambda: all(map(self.listens, wanted.values())), "the workers listen")
        until(lambda: wanted.keys() <= {one.id for one in self.store.workers() if one.models}, "the workers are warm")
        until(lambda: self.answers("/readyz"), "the gateway answers")

    def listens(self, child: ChildProcess) -> bool:
        """Return whether a worker's process, perhaps just started anew, listens and handles signals."""
        process = child.process  # the supervisor may take it away at any moment
        return process is not None and process.poll() is None and listening_mark(self.folder, process.pid).exists()

    def answers(self, path: str) -> bool:
        """Return whether the gateway answers well."""
        try:
            return bool(self.client.get(path).is_success)
        except httpx2.TransportError:
            return False

    def post(self, prompt: str, *, seed: int = 7, steps: int = 4, key: str | None = None, **fields: Any) -> str:
        """Have a job accepted; return its id."""
        form = {"prompt": prompt, "method": "signal-leak", "width": 64, "height": 64, "steps": steps, "seed": seed}
        data = {name: str(value) for name, value in (form | fields).items()}
        headers = {"Idempotency-Key": key} if key else {}
        accepted = self.client.post("/stylize", data=data, files=style_file(), headers=headers)
        assert accepted.status_code == 202, accepted.text
        return str(accepted.json()["id"])

    def record(self, job_id: str) -> Job:
        """Return the job as Redis has it."""
        job = self.store.get(job_id)
        assert job is not None
        return job

    def succeeded(self, job_id: str, *, attempts: int | None = None) -> Job:
        """Return the job, which must end well after so many attempts, with the right picture, published once."""
        assert self.finished(job_id)["state"] == "succeeded", self.record(job_id)
        job = self.record(job_id)
        assert job.result is not None
        assert attempts in (None, job.attempts), job
        assert job.result.images[0].sha256 == expected_sha256(job, job.request.seed)
        assert job.result.control_map is not None
        assert attempt_of(job.result.control_map.blob) == (job.id, job.token)
        lines = [line for line in self.journal.read() if line["job"] == job_id and line["event"] == "committed"]
        assert {line["token"] for line in lines} <= {job.token}
        return job

    def claimed(self, *ids: str) -> bool:
        """Return whether each of the jobs was claimed once: it may be done by now."""
        return all(self.record(job_id).token for job_id in ids)

    def first_claimer(self, job_id: str) -> int:
        """Return the pid of the worker that claimed the job first, once one has."""

        def claimers() -> list[int]:
            return [line["pid"] for line in self.journal.read() if line["job"] == job_id]

        until(claimers, "a worker has noted that it claimed the job")
        return claimers()[0]

    def worker_processes(self) -> dict[int, "subprocess.Popen[bytes]"]:
        """Return the processes of the workers by their pids."""
        return {process.pid: process for child in self.workers if (process := child.process)}

    def worker_of(self, job_id: str) -> ChildProcess:
        """Return the worker that has the job."""
        worker = self.record(job_id).worker
        assert worker is not None
        return self.workers[int(worker.rpartition("-")[2])]

    def troubled(self) -> int:
        """Return how often a prompt had its trouble."""
        return len(list((self.folder / "troubles").iterdir()))

    def dismiss(self, child: ChildProcess) -> None:
        """Start the child no more when it ends."""
        with self.tending:
            self.dismissed.add(child.name)

    def _socket(self, n: int) -> Path:
        return self.folder / f"proxy-{n}.sock"

    def _supervise(self) -> None:
        while not self._ended.wait(0.05):
            with self.tending:
                for child in self.children:
                    if child.process is not None or child.name not in self.dismissed:
                        child.restarts = 0
                        child.tend()


@contextmanager
def stack(**options: Any) -> Iterator[Stack]:
    """A stack whose workers are warm, in a temporary folder, ended afterwards."""
    with tempfile.TemporaryDirectory(prefix="stylize-faults-") as folder:
        running = Stack(Path(folder), **options)
        try:
            running.start()
            yield running
        finally:
            running.close()
