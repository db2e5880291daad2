"""A real gateway process on a real Redis, without workers: a test that needs a result is the worker itself."""

import hashlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx2

from deploy.embedded.redis import RedisProcess
from deploy.embedded.stack import HEAP
from tests.support.pictures import FORM, multipart, style
from tests.support.service import PATIENCE, free_port
from tests.support.tiny.store import build_tiny_store
from workers.contract.blobs import BlobStore, open_blobs, output_name
from workers.contract.jobs.models import Image, Job, Result, Timings
from workers.contract.jobs.results import Claim
from workers.contract.jobs.store import JobStore
from workers.contract.runtime.settings import Settings

MODELS = "tiny-sd15,tiny-sdxl"


class Gateway:
    """The process, a client of it, and the store and blobs behind it."""

    def __init__(self, folder: Path, redis: RedisProcess, environ: Mapping[str, str] | None = None) -> None:
        self.port = free_port()
        self.log = folder / "gateway.log"
        self.environ = {
            **HEAP,
            "STYLIZE_REDIS_URL": redis.url,
            "STYLIZE_BLOB_URL": f"file:{folder / 'blobs'}",
            "STYLIZE_MODELS": MODELS,
            "STYLIZE_MODEL_DIR": str(build_tiny_store()),
            "STYLIZE_GATEWAY_PORT": str(self.port),
            **(environ or {}),
        }
        self.client = httpx2.Client(base_url=f"http://127.0.0.1:{self.port}", timeout=PATIENCE)
        settings = Settings(
            redis_url=redis.url, blob_url=self.environ["STYLIZE_BLOB_URL"], lease_seconds=600, max_attempts=100
        )
        self.store: JobStore = JobStore.from_settings(settings)
        self.blobs: BlobStore = open_blobs(settings)
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def __enter__(self) -> Self:
        command = (sys.executable, "-W", "error", "-m", "app")
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(command, env={**os.environ, **self.environ}, stderr=log, stdout=log)
        deadline = time.monotonic() + PATIENCE
        while not self._alive():
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < deadline, "the gateway does not answer"
            time.sleep(0.05)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.client.close()
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(PATIENCE) == 0, self.log.read_text()

    def post(self, fields: Mapping[str, Any] | None = None, files: Any = None, **headers: str) -> httpx2.Response:
        """Post a request; `fields` change or, when None, remove those of a good one."""
        data = {name: value for name, value in {**FORM, **(fields or {})}.items() if value is not None}
        if files == []:
            headers["Content-Type"] = "multipart/form-data; boundary=x"
            return self.client.post("/stylize", content=multipart(data, {}), headers=headers)
        return self.client.post("/stylize", data=data, files=files or style(), headers=headers)

    def accepted(self, fields: Mapping[str, Any] | None = None, files: Any = None, **headers: str) -> dict[str, Any]:
        """Post a request that must be accepted."""
        answer = self.post(fields, files, **headers)
        assert answer.status_code == httpx2.codes.ACCEPTED, answer.text
        return dict(answer.json())

    def claimed(self, job_id: str) -> Claim:
        """Claim a job as a worker would; jobs of other tests that come first are claimed and left."""
        job = self.store.get(job_id)
        assert job is not None
        while claim := self.store.claim(job.queue, "test"):
            if claim.job.id == job_id:
                return claim
        raise AssertionError("the job cannot be claimed")

    def finish(self, job_id: str, picture: bytes, warnings: tuple[str, ...] = ()) -> Job:
        """Do a job as a worker would: publish, then commit."""
        claim = self.claimed(job_id)
        name = output_name(job_id, claim.token, 0, "png")
        self.blobs.put(name, picture, content_type="image/png")
        digest = hashlib.sha256(picture).hexdigest()
        image = Image(blob=name, width=64, height=64, content_type="image/png", sha256=digest, seed=7)
        result = Result(
            images=(image,), timings=Timings(denoise=1.5), gpu_seconds=1.5, style_cache="miss", warnings=warnings
        )
        assert self.store.commit(claim, result)
        done = self.store.get(job_id)
        assert done is not None
        return done

    def rss(self) -> int:
        """Bytes of memory of the gateway process."""
        words = Path(f"/proc/{self.pid}/statm").read_text().split()
        return int(words[1]) * os.sysconf("SC_PAGE_SIZE")

    def _alive(self) -> bool:
        try:
            return self.client.get("/livez").status_code == httpx2.codes.NO_CONTENT
        except httpx2.TransportError:
            return False
