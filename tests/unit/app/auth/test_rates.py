"""A call that makes many jobs counts as many: for the key's rate and for the host's limit of cost."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from app.auth.api_key import create_api_key
from app.auth.key_store import KeyStore
from deploy.embedded.redis import RedisProcess
from tests.support.gateway import Gateway
from tests.support.pictures import style
from tests.support.service import free_port
from workers.contract.runtime.redis import connect

SMALL = {"prompt": "a house", "width": "64", "height": "64", "steps": "2", "method": "signal-leak"}
METHODS = "signal-leak,ip-adapter,style-aligned"


@pytest.fixture(scope="module")
def priced(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A gateway that takes a few cells of a hundred steps, but not forty."""
    folder = tmp_path_factory.mktemp("priced")
    with RedisProcess(folder / "redis") as redis, Gateway(folder, redis, {"STYLIZE_GATEWAY_MAX_COST": "20"}) as gateway:
        bearer(gateway)
        yield gateway


def bearer(gateway: Gateway, **limits: Any) -> dict[str, str]:
    """Make a key; return the header that brings it."""
    made = create_api_key("test", **limits)
    with connect(gateway.environ["STYLIZE_REDIS_URL"]) as redis:
        KeyStore(redis).put(made.key)
    return {"Authorization": f"Bearer {made.token}"}


def compare(gateway: Gateway, cells: int, key: dict[str, str], steps: int = 2, **headers: str) -> Any:
    data = SMALL | {"seed": ",".join(map(str, range(cells))), "steps": str(steps)}
    return gateway.client.post("/comparisons", data=data, files=style(), headers=key | headers)


def test_the_cells_of_a_comparison_count_for_the_rate(priced: Gateway) -> None:
    key = bearer(priced, rate="6/hour")
    once = {"Idempotency-Key": "once"}
    first = compare(priced, 4, key, **once)
    assert first.status_code == 202, first.text
    assert compare(priced, 4, key, **once).json()["id"] == first.json()["id"], "what was counted is not counted again"
    refused = compare(priced, 4, key)
    assert (refused.status_code, refused.json()["type"]) == (429, "urn:stylize:problem:rate-limited")
    assert int(refused.headers["retry-after"]) > 0
    owner = key["Authorization"].split("_")[1]
    assert len(priced.store.page(owner=owner, limit=100).jobs) == 4


def left(answer: Any) -> tuple[int, int]:
    """Return how many requests the key may make, and how many of them are left."""
    assert int(answer.headers["ratelimit-reset"]) >= 1
    return int(answer.headers["ratelimit-limit"]), int(answer.headers["ratelimit-remaining"])


def test_each_counted_answer_tells_what_is_left(priced: Gateway) -> None:
    key = bearer(priced, rate="6/hour")
    assert left(priced.post(**key)) == (6, 5)
    assert left(priced.post({"steps": "none"}, **key)) == (6, 4), "a refused request counts, too"
    assert left(compare(priced, 3, key)) == (6, 1)
    assert left(priced.post(**key)) == (6, 0)
    refused = priced.post(**key)
    assert (refused.status_code, left(refused)) == (429, (6, 0))
    assert refused.headers["retry-after"] == refused.headers["ratelimit-reset"]
    for uncounted in (priced.client.get("/jobs", headers=key), priced.post(**bearer(priced))):
        assert not [name for name in uncounted.headers if name.startswith("ratelimit")]


def test_an_answer_that_was_given_before_says_so(priced: Gateway) -> None:
    key = bearer(priced) | {"Idempotency-Key": "twice"}
    for post in (lambda: priced.post(**key), lambda: compare(priced, 2, key)):
        first, second = post(), post()
        assert first.json()["id"] == second.json()["id"]
        assert [answer.headers.get("idempotent-replayed") for answer in (first, second)] == [None, "true"]


def test_what_never_fits_the_rate_is_no_matter_of_waiting(priced: Gateway) -> None:
    refused = compare(priced, 3, bearer(priced, rate="2/minute"))
    assert refused.status_code == 422
    assert refused.json()["errors"] == [
        {"pointer": "#/method", "detail": "makes 3 jobs; this key may ask 2 per 1 minute"}
    ]


def test_the_costs_of_a_comparison_are_summed(priced: Gateway) -> None:
    key = bearer(priced)
    assert compare(priced, 4, key, steps=100).status_code == 202
    refused = compare(priced, 40, key, steps=100)
    assert refused.status_code == 422
    assert refused.json()["errors"][0]["pointer"] == "#/method"
    assert "40 jobs cost" in refused.json()["errors"][0]["detail"]


def test_the_preparations_of_a_style_count_too(priced: Gateway) -> None:
    key = bearer(priced, rate="2/minute")
    refused = priced.client.post("/styles", data={"name": "a", "precompute": METHODS}, files=style(), headers=key)
    assert refused.status_code == 422
    assert refused.json()["errors"] == [
        {"pointer": "#/precompute", "detail": "makes 3 jobs; this key may ask 2 per 1 minute"}
    ]


def test_a_key_with_a_rate_waits_while_nobody_can_count(tmp_path: Path) -> None:
    away = {"STYLIZE_GATEWAY_LIMITS_URL": f"redis://127.0.0.1:{free_port()}"}
    with RedisProcess(tmp_path / "redis") as redis, Gateway(tmp_path, redis, away) as gateway:
        limited, free = bearer(gateway, rate="9/minute"), bearer(gateway)
        refused = gateway.post(**limited)
        assert refused.status_code == 503
        assert int(refused.headers["retry-after"]) > 0
        assert gateway.client.get("/jobs", headers=limited).status_code == 200, "looking is free"
        assert gateway.post(**free).status_code == 202
