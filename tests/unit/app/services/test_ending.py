"""The end of a gateway: what it has begun it finishes, and nothing of it is left running."""

import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from deploy.embedded.redis import RedisProcess
from tests.support.gateway import Gateway
from tests.support.pictures import FORM, encoded, multipart, picture
from tests.support.service import PATIENCE, until


@pytest.fixture
def ending(tmp_path: Path, gateway_redis: RedisProcess) -> Iterator[Gateway]:
    with Gateway(tmp_path, gateway_redis) as running:
        yield running


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def await_gone(pid: int) -> None:
    until(lambda: gone(pid), f"{pid} has ended")


def test_a_request_under_way_is_answered_before_the_gateway_stops(ending: Gateway) -> None:
    body = multipart(FORM, {"style_image": encoded(picture())})
    underway = threading.Event()

    def slowly() -> Iterator[bytes]:
        yield body[:100]
        underway.set()
        time.sleep(1)
        yield body[100:]

    def stop() -> None:
        underway.wait()
        assert ending.process is not None
        ending.process.send_signal(signal.SIGTERM)

    stopper = threading.Thread(target=stop)
    stopper.start()
    answer = ending.client.post(
        "/stylize", content=slowly(), headers={"Content-Type": "multipart/form-data; boundary=x"}
    )
    stopper.join()
    assert answer.status_code == httpx2.codes.ACCEPTED
    assert ending.store.get(answer.json()["id"]) is not None


def test_the_decoder_ends_with_the_gateway(ending: Gateway) -> None:
    (zygote,) = children(ending.pid)
    assert ending.process is not None
    ending.process.send_signal(signal.SIGTERM)
    assert ending.process.wait(PATIENCE) == 0
    await_gone(zygote)


def test_the_decoder_ends_with_a_gateway_that_is_killed(tmp_path: Path, gateway_redis: RedisProcess) -> None:
    gateway = Gateway(tmp_path, gateway_redis).__enter__()
    assert gateway.process is not None
    (zygote,) = children(gateway.pid)
    gateway.process.kill()
    gateway.process.wait(PATIENCE)
    gateway.client.close()
    await_gone(zygote)


def test_a_killed_decoder_is_no_matter_to_callers(ending: Gateway) -> None:
    ending.accepted()
    (zygote,) = children(ending.pid)
    os.kill(zygote, signal.SIGKILL)
    ending.accepted()
