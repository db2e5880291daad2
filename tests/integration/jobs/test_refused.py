"""One picture that the store refuses fails its job and holds up nobody; a store that is away takes no attempt (B1)."""

import secrets
from collections.abc import Callable, Sequence
from hashlib import sha256
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image
from redis import Redis

from tests.faults.harness.fake import FakeEngine
from tests.faults.harness.trouble import Troubles
from tests.integration.blobs.test_s3 import s3_through
from tests.integration.conftest import new_job
from tests.support.faulty_s3 import FaultyS3, Rule
from workers.contract.blobs import BlobStore, input_name
from workers.contract.blobs.disk import DiskBlobs
from workers.contract.jobs.models import Job, State
from workers.contract.jobs.store import JobStore
from workers.contract.runtime.settings import Settings
from workers.engine.types import BatchItem, GenerationResult
from workers.settings import WorkerSettings
from workers.worker import finalize
from workers.worker.runner import Runner
from workers.worker.threads.heartbeat import Heartbeat

EVERY = ("GET", "PUT", "POST", "DELETE")


class CountingEngine(FakeEngine):
    """Notes of which styles it painted."""

    def __init__(self, folder: Path) -> None:
        super().__init__(Troubles(folder), 0.0)
        self.painted: list[tuple[str, ...]] = []

    def run_batch(self, works: Sequence[BatchItem]) -> list[GenerationResult | Exception]:
        self.painted.append(tuple(style for work in works for style in work.request.style_images))
        return super().run_batch(works)


@pytest.fixture
def store(redis: Redis) -> JobStore:
    return JobStore(redis, lease_seconds=30, max_attempts=3, max_deferrals=2, prefix=f"{secrets.token_hex(4)}:")


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waiting is a matter of tenths of a second."""
    monkeypatch.setattr(finalize, "PATIENCE", 0.3)
    monkeypatch.setattr(finalize, "DOUBT", 0.1)


class Line:
    """A refused job, three good ones behind it, one worker."""

    def __init__(self, store: JobStore, blobs: BlobStore, folder: Path) -> None:
        self.store, self.blobs = store, blobs
        self.engine = CountingEngine(folder)
        self.bad, *self.good = [self._submit(n) for n in range(4)]
        self.sha256 = self.bad.request.style_images[0]

    def _submit(self, n: int) -> Job:
        file = BytesIO()
        Image.new("RGB", (8, 8), (n, 0, 0)).save(file, "PNG")
        digest = sha256(file.getvalue()).hexdigest()
        self.blobs.put(input_name(digest), file.getvalue(), content_type="image/png")
        return self.store.submit(new_job(styles=(digest,))).job

    def run(self) -> None:
        """Run workers, one after the other, until the refused job is final."""
        while not self.now(self.bad).state.final:
            beat = Heartbeat(self.store, lease_seconds=30)
            runner = Runner(self.store, self.blobs, self.engine, beat, WorkerSettings(models=("sd15",)), worker="w")
            runner.drain()
            runner.close()

    def now(self, job: Job) -> Job:
        found = self.store.get(job.id)
        assert found is not None
        return found

    def check(self, *, attempts: int) -> None:
        """Three good jobs are done, each at once and before the refused one ended."""
        bad, good = self.now(self.bad), [self.now(job) for job in self.good]
        assert [(job.state, job.attempts) for job in good] == [(State.SUCCEEDED, 1)] * 3
        assert bad.failure is not None, bad
        assert (bad.state, bad.failure.code, bad.attempts) == (State.FAILED, "blob", attempts)
        assert bad.finished_at is not None
        assert all(job.finished_at is not None and job.finished_at <= bad.finished_at for job in good)


REFUSALS = [
    Rule(("GET",), "", 403, "AccessDenied"),
    Rule(("GET",), "", 400, "KMS.DisabledException"),
    Rule(("GET",), "", 403, "InvalidObjectState"),
    Rule(("GET",), "", 404, "NoSuchKey"),
    Rule(("GET",), "", 500, "InternalError"),
]


@pytest.mark.parametrize("rule", REFUSALS, ids=lambda rule: rule.code)
def test_an_input_that_s3_refuses_holds_up_nobody(
    store: JobStore, faulty: FaultyS3, s3_settings: Settings, tmp_path: Path, rule: Rule
) -> None:
    line = Line(store, s3_through(faulty.url, s3_settings), tmp_path)
    with faulty.refusing(rule._replace(part=line.sha256)):
        line.run()
    line.check(attempts=3)


@pytest.mark.parametrize("status", [403, 500])
def test_a_picture_that_s3_does_not_take_is_not_painted_for_ever(
    store: JobStore, faulty: FaultyS3, s3_settings: Settings, tmp_path: Path, status: int
) -> None:
    line = Line(store, s3_through(faulty.url, s3_settings), tmp_path)
    with faulty.refusing(Rule(("PUT",), f"jobs/{line.bad.id}/", status)):
        line.run()
    line.check(attempts=3)
    assert sum(line.sha256 in painted for painted in line.engine.painted) == 3


@pytest.mark.parametrize("status", [403, 503])
def test_a_store_that_is_away_takes_no_attempt_but_not_for_ever(
    store: JobStore, faulty: FaultyS3, s3_settings: Settings, tmp_path: Path, status: int
) -> None:
    line = Line(store, s3_through(faulty.url, s3_settings), tmp_path)
    for job in line.good:
        store.cancel(job.id)
    with faulty.refusing(Rule(EVERY, "", status)):
        line.run()
    failed = line.now(line.bad)
    assert failed.failure is not None
    assert (failed.failure.code, failed.attempts, failed.token) == ("blob", 1, 3)


def loop(place: Path) -> None:
    place.unlink()
    place.symlink_to(place)


def folder(place: Path) -> None:
    place.unlink()
    place.mkdir()


def other_bytes(place: Path) -> None:
    file = bytearray(place.read_bytes())
    file[-1] ^= 1
    place.write_bytes(file)


@pytest.mark.parametrize("damage", [loop, folder, other_bytes])
def test_a_file_that_cannot_be_read_holds_up_nobody(
    store: JobStore, tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    line = Line(store, DiskBlobs(tmp_path / "blobs"), tmp_path)
    damage(tmp_path / "blobs" / input_name(line.sha256))
    line.run()
    line.check(attempts=3)
    assert not any(line.sha256 in painted for painted in line.engine.painted)


def test_a_folder_that_takes_no_picture_is_not_painted_for_ever(store: JobStore, tmp_path: Path) -> None:
    line = Line(store, DiskBlobs(tmp_path / "blobs"), tmp_path)
    (tmp_path / "blobs" / "jobs").mkdir()
    (tmp_path / "blobs" / "jobs" / line.bad.id).touch()
    line.run()
    line.check(attempts=3)
    assert sum(line.sha256 in painted for painted in line.engine.painted) == 3
