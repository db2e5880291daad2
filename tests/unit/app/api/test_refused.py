"""What is refused leaves no picture, and no more pictures are kept than the host and its disk allow."""

import itertools
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from app.auth.api_key import create_api_key
from app.auth.key_store import KeyStore
from app.errors import InsufficientStorage
from app.storage.free_space import FreeSpace, free_bytes
from deploy.embedded.redis import RedisProcess
from tests.support.gateway import Gateway
from tests.support.pictures import FORM, encoded, multipart, picture, style
from workers.contract.blobs import input_name
from workers.contract.runtime.redis import connect

NUMBERS = itertools.count(1000)
HEADERS = {"Content-Type": "multipart/form-data; boundary=x"}


def fresh() -> bytes:
    """A picture that no other test sends."""
    return encoded(picture(seed=next(NUMBERS)))


class Keyed:
    """A gateway in whose queue two jobs have room, and the keys that open it."""

    def __init__(self, gateway: Gateway) -> None:
        self.gateway = gateway

    def key(self, **limits: Any) -> dict[str, str]:
        """Make a key; return the header that brings it."""
        made = create_api_key("test", **limits)
        with connect(self.gateway.environ["STYLIZE_REDIS_URL"]) as redis:
            KeyStore(redis).put(made.key)
        return {"Authorization": f"Bearer {made.token}"}

    def inputs(self) -> set[str]:
        return {stored.name for stored in self.gateway.blobs.list("inputs/")}

    def empty_queue(self) -> None:
        for job in self.gateway.store.page(limit=100).jobs:
            self.gateway.store.cancel(job.id)

    def fill_queue(self, key: dict[str, str]) -> None:
        self.empty_queue()
        for _ in range(2):
            self.gateway.accepted(**key)


@pytest.fixture(scope="module")
def keyed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Keyed]:
    folder = tmp_path_factory.mktemp("small")
    with (
        RedisProcess(folder / "redis") as redis,
        Gateway(folder, redis, {"STYLIZE_MAX_QUEUED": "2"}) as gateway,
    ):
        keyed = Keyed(gateway)
        keyed.key()
        yield keyed


def refusals(keyed: Keyed, what: str, key: dict[str, str]) -> Any:
    """Post what must be refused, with a new picture."""
    client, files = keyed.gateway.client, style(fresh())
    if what == "job":
        return keyed.gateway.post(files=files, **key)
    if what == "comparison":
        data = {"prompt": "a house", "width": "64", "height": "64", "steps": "2", "method": "signal-leak"}
        return client.post("/comparisons", data=data | {"seed": "1,2,3"}, files=files, headers=key)
    methods = {"precompute": "signal-leak,ip-adapter,style-aligned"}
    return client.post("/styles", data={"name": "a", **methods}, files=files, headers=key)


@pytest.mark.parametrize("what", ["job", "comparison", "style"])
@pytest.mark.parametrize("full", ["queue", "owner"])
def test_what_finds_no_room_leaves_no_picture(keyed: Keyed, what: str, full: str) -> None:
    key = keyed.key() if full == "queue" else keyed.key(in_flight=1)
    if full == "queue":
        keyed.fill_queue(key)
    else:
        keyed.empty_queue()
        keyed.gateway.accepted(**key)
    before = keyed.inputs()
    answer = refusals(keyed, what, key)
    assert (answer.status_code, int(answer.headers["retry-after"]) > 0) == (429, True), answer.text
    assert keyed.inputs() == before
    assert keyed.gateway.client.get("/styles", headers=key).json()["styles"] == []


def test_those_that_come_too_late_for_the_last_place_leave_no_picture(keyed: Keyed) -> None:
    key = keyed.key()
    keyed.fill_queue(key)
    keyed.gateway.store.cancel(keyed.gateway.store.page(limit=1).jobs[0].id)
    before = keyed.inputs()
    with ThreadPoolExecutor(12) as callers:
        answers = list(
            callers.map(lambda data: keyed.gateway.post(files=style(data), **key), [fresh() for _ in range(12)])
        )
    assert sorted(answer.status_code for answer in answers) == [202] + [429] * 11
    (accepted,) = (answer.json() for answer in answers if answer.status_code == 202)
    assert keyed.inputs() == before | {input_name(accepted["recipe"]["style_images"][0])}


def test_another_request_under_the_same_key_leaves_no_picture(keyed: Keyed) -> None:
    keyed.empty_queue()
    key = keyed.key() | {"Idempotency-Key": "once"}
    first = keyed.gateway.accepted(**key)
    before = keyed.inputs()
    assert keyed.gateway.post(files=style(fresh()), **key).status_code == 409
    assert keyed.inputs() == before
    keyed.fill_queue(keyed.key())
    assert keyed.gateway.accepted(**key)["id"] == first["id"], "what was accepted stays so when the queue is full"


def test_another_comparison_under_the_same_key_leaves_no_picture(keyed: Keyed) -> None:
    keyed.empty_queue()
    key = keyed.key() | {"Idempotency-Key": "once"}
    data = {"prompt": "a house", "width": "64", "height": "64", "steps": "2", "method": "signal-leak", "seed": "1"}
    post = partial(keyed.gateway.client.post, "/comparisons", data=data, headers=key)
    assert post(files=style(fresh())).status_code == 202
    before = keyed.inputs()
    assert post(files=style(fresh())).status_code == 409
    assert keyed.inputs() == before


def test_a_style_that_cannot_be_prepared_leaves_no_picture(keyed: Keyed) -> None:
    keyed.empty_queue()
    before, key = keyed.inputs(), keyed.key()
    data = {"name": "a", "precompute": "signal-leak,no-such-method"}
    assert keyed.gateway.client.post("/styles", data=data, files=style(fresh()), headers=key).status_code == 422
    assert keyed.inputs() == before


def test_a_picture_that_somebody_uses_outlasts_a_refusal(keyed: Keyed) -> None:
    keyed.empty_queue()
    shared, key = fresh(), keyed.key(in_flight=1)
    (used,) = keyed.gateway.accepted(files=style(shared), **keyed.key())["recipe"]["style_images"]
    keyed.gateway.accepted(**key)
    assert keyed.gateway.post(files=style(shared), **key).status_code == 429
    assert any(used in name for name in keyed.inputs())


def saved(gateway: Gateway, data: bytes) -> Any:
    return gateway.client.post("/styles", content=multipart({"name": "a"}, {"style_image": data}), headers=HEADERS)


def test_the_bytes_of_an_owners_pictures_are_limited(tmp_path: Path) -> None:
    most = {"STYLIZE_GATEWAY_OWNER_BYTES": "6000", "STYLIZE_GATEWAY_FREE_BYTES": "0"}
    with RedisProcess(tmp_path / "redis") as redis, Gateway(tmp_path, redis, most) as limited:
        first = fresh()
        job = limited.accepted(files=style(first))
        styles = 0
        while (answer := saved(limited, fresh())).status_code == 201:
            styles += 1
            assert styles < 50, "no limit"
        assert answer.status_code == 507
        assert (answer.json()["type"], "6,000 bytes" in answer.json()["detail"]) == (
            "urn:stylize:problem:storage-quota",
            True,
        )
        files = list(limited.blobs.list("inputs/"))
        assert sum(stored.size for stored in files) <= 6000
        assert len(files) == styles + 1, "the refused style left a picture"
        assert limited.post(files=style(fresh())).status_code == 507
        assert limited.post(files=style(first)).status_code == 202, "a picture that is kept already takes no room"
        assert limited.client.delete(f"/jobs/{job['id']}").status_code == 200
        for shown in limited.client.get("/styles?limit=100").json()["styles"]:
            limited.client.delete(f"/styles/{shown['id']}")
        assert saved(limited, fresh()).status_code == 201, "a deleted style leaves its room"


def test_uploads_leave_room_on_the_disk(tmp_path: Path) -> None:
    most = {"STYLIZE_GATEWAY_FREE_BYTES": str(10**15)}
    with RedisProcess(tmp_path / "redis") as redis, Gateway(tmp_path, redis, most) as gateway:
        data = FORM | {"seed": "1,2"}
        for answer in (
            gateway.post(),
            gateway.client.post("/comparisons", data=data, files=style()),
            gateway.client.post("/styles", data={"name": "a"}, files=style()),
        ):
            assert answer.status_code == 507, answer.text
            assert answer.json()["type"] == "urn:stylize:problem:insufficient-storage"
            assert f"{10**15:,} bytes" in answer.json()["detail"]
        assert not list(gateway.blobs.list("inputs/"))


def test_room_is_promised_once(tmp_path: Path) -> None:
    room = 10**6
    space = FreeSpace(tmp_path / "made" / "later", free_bytes(tmp_path) - room)
    with space.reserved(room // 2), pytest.raises(InsufficientStorage), space.reserved(room):
        raise AssertionError("the same room was promised twice")
    with space.reserved(room // 2):
        pass
