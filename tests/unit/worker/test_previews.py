"""The previewer on a real store: throttled, bounded, harmless."""

import itertools
import time
from collections.abc import Callable, Iterator
from io import BytesIO

import pytest
from PIL import Image
from redis import Redis

from tests.integration.conftest import new_job
from tests.support.service import PATIENCE, until
from workers.contract.jobs.previews import PreviewStore
from workers.contract.jobs.store import JobStore
from workers.contract.runtime.redis import connect
from workers.engine.types import PreviewFrame
from workers.worker.running_job import RunningJob
from workers.worker.threads.heartbeat import Heartbeat
from workers.worker.threads.previews import MOST_SIDE, PreviewPublisher, jpeg

PERIOD = 0.2


@pytest.fixture
def previews(redis: Redis, store: JobStore) -> PreviewStore:
    return PreviewStore(redis, prefix=store._prefix)


@pytest.fixture
def beat(store: JobStore) -> Heartbeat:
    return Heartbeat(store, lease_seconds=30)


@pytest.fixture
def running(store: JobStore, beat: Heartbeat) -> Iterator[RunningJob]:
    store.submit(new_job())
    claim = store.claim("sd15", "worker")
    assert claim is not None
    with beat.hold(claim) as held:
        yield held


def drawing(drawn: list[float], size: tuple[int, int] = (32, 16)) -> Callable[[], Image.Image]:
    def draw() -> Image.Image:
        drawn.append(time.monotonic())
        return Image.linear_gradient("L").resize(size).convert("RGB")

    return draw


def test_steps_are_shown_no_more_often_than_the_period_and_only_once(
    store: JobStore, beat: Heartbeat, running: RunningJob, previews: PreviewStore
) -> None:
    drawn: list[float] = []
    thread = PreviewPublisher(previews, beat, period=PERIOD)
    thread.start()
    for step in range(1, 101):
        running.set_preview(PreviewFrame(step, drawing(drawn)))
        time.sleep(0.01)
    job_id = running.job.id
    until(lambda: (job := store.get(job_id)) and job.preview == 100, "the last step is shown")
    count = len(drawn)
    assert count >= 2
    assert all(later - earlier >= PERIOD * 0.9 for earlier, later in itertools.pairwise(drawn))
    time.sleep(3 * PERIOD)
    assert len(drawn) == count, "no step, no preview"
    thread.end()
    thread.join(PATIENCE)
    assert not thread.is_alive()
    picture = Image.open(BytesIO(previews.get(job_id) or b""))
    assert (picture.format, picture.size) == ("JPEG", (32, 16))


def test_a_preview_is_small() -> None:
    noise = Image.effect_noise((1024, 512), 80).convert("RGB")
    file = jpeg(noise)
    assert Image.open(BytesIO(file)).size == (MOST_SIDE, MOST_SIDE // 2)
    assert len(file) < 30_000
    assert len(jpeg(Image.new("RGB", (128, 128)))) < 4_000


def test_neither_a_drawing_that_fails_nor_a_redis_away_ends_it(
    beat: Heartbeat, running: RunningJob, previews: PreviewStore
) -> None:
    tried: list[float] = []

    def broken() -> Image.Image:
        tried.append(0)
        raise ValueError("no picture")

    away = PreviewStore(connect("redis://127.0.0.1:1/0"))
    for store, draw in ((previews, broken), (away, drawing(tried))):
        tried.clear()
        thread = PreviewPublisher(store, beat, period=PERIOD)
        thread.start()
        for _ in range(2):
            running.set_preview(PreviewFrame(1, draw))
            so_far = len(tried)
            until(lambda: len(tried) > so_far, "it tries")  # noqa: B023  used at once
        thread.end()
        thread.join(PATIENCE)
    assert previews.get(running.job.id) is None
