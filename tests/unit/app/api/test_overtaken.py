"""A gateway that is killed within a comparison, or posts a picture that is just being deleted."""

import subprocess
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx2
import pytest

from deploy.embedded.redis import RedisProcess
from tests.support.gateway import Gateway
from tests.support.pictures import encoded, picture, style
from tests.support.service import PATIENCE, until
from workers.contract.blobs import BlobStore, input_name
from workers.contract.queue.notifier import WorkerNotifier
from workers.contract.runtime.redis import connect
from workers.sweeper import Sweeper

CELLS = 64
FORM = {"prompt": "a house", "width": "64", "height": "64", "steps": "2", "method": "signal-leak"}


def compare(gateway: Gateway, key: str) -> httpx2.Response:
    data = FORM | {"seed": ",".join(map(str, range(CELLS)))}
    return gateway.client.post("/comparisons", data=data, files=style(), headers={"Idempotency-Key": key})


def jobs_of(gateway: Gateway) -> int:
    with connect(gateway.environ["STYLIZE_REDIS_URL"]) as redis:
        return int(redis.zcard("stylize:all"))


def at(jobs: int) -> Callable[[Gateway], bool]:
    return lambda gateway: jobs_of(gateway) >= jobs


MOMENTS = {
    "pictures": lambda gateway: bool(list(gateway.blobs.list("inputs/"))),
    "first job": at(1),
    "some jobs": at(CELLS // 2),
}


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_comparison_of_a_killed_gateway_has_its_jobs_once(tmp_path: Path, moment: str) -> None:
    with RedisProcess(tmp_path / "redis") as redis:
        killed = Gateway(tmp_path, redis)
        killed.__enter__()
        asking = threading.Thread(target=lost, args=(killed,))
        asking.start()
        spin(lambda: MOMENTS[moment](killed))
        assert isinstance(killed.process, subprocess.Popen)
        killed.process.kill()
        killed.process.wait()
        asking.join()
        killed.client.close()
        assert jobs_of(killed) in (0, CELLS), "a part of a comparison runs unseen"
        with Gateway(tmp_path, redis) as gateway:
            answers = [compare(gateway, "once") for _ in range(2)]
            assert [answer.status_code for answer in answers] == [202, 202]
            ids = {cell["job"]["id"] for answer in answers for cell in answer.json()["cells"]}
            assert (len(ids), jobs_of(gateway)) == (CELLS, CELLS)


def lost(gateway: Gateway) -> None:
    """Ask for a comparison; the answer may not come."""
    try:
        compare(gateway, "once")
    except httpx2.TransportError:
        return


def spin(true: Callable[[], bool]) -> None:
    """Wait without a pause: the moment is short."""
    end = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < end


class Overtaken:
    """A blob store whose deletions begin only once a gateway has got as far as it can with a picture."""

    def __init__(self, gateway: Gateway, data: bytes, name: str) -> None:
        self.gateway, self.data, self.name, self.blobs = gateway, data, name, gateway.blobs
        self.answer: httpx2.Response | None = None
        self.asking = threading.Thread(target=self.ask)

    def ask(self) -> None:
        self.answer = self.gateway.post(files=style(self.data))

    def list(self, prefix: str) -> Any:
        return self.blobs.list(prefix)

    def delete(self, names: Any) -> None:
        if self.name in names:
            self.be_overtaken()
        self.blobs.delete(names)

    def be_overtaken(self) -> None:
        begun = {stored.name: stored.modified for stored in self.blobs.list("inputs/")}
        self.asking.start()
        until(lambda: {s.name: s.modified for s in self.blobs.list("inputs/")} != begun, "the picture is put again")
        self.asking.join(0.5)  # whoever is let in meanwhile is let in now


def test_an_accepted_job_finds_the_picture_that_was_being_deleted(gateway: Gateway) -> None:
    data = encoded(picture(seed=4711))
    job = gateway.accepted(files=style(data))
    (name,) = map(input_name, job["recipe"]["style_images"])
    with connect(gateway.environ["STYLIZE_REDIS_URL"]) as redis:  # as when the retention is over
        redis.hdel("stylize:inputs", job["recipe"]["style_images"][0])
    overtaken = Overtaken(gateway, data, name)
    blobs: BlobStore = overtaken  # type: ignore[assignment]
    notifier = WorkerNotifier(gateway.environ["STYLIZE_REDIS_URL"], connect(gateway.environ["STYLIZE_REDIS_URL"]))
    Sweeper(gateway.store, blobs, notifier, retention=timedelta(seconds=-2)).collect_orphans()
    notifier.close()
    overtaken.asking.join()
    assert overtaken.answer is not None
    assert overtaken.answer.status_code == 202, overtaken.answer.text
    assert name in {stored.name for stored in gateway.blobs.list("inputs/")}
