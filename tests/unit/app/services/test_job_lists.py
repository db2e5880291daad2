"""What `GET /jobs` finds: by prompt, method, model, style and time, whole or only some fields."""

import threading
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from stylize_client import Client

from deploy.embedded.redis import RedisProcess
from tests.integration.conftest import new_job
from tests.support.gateway import Gateway
from tests.support.pictures import encoded, picture, style
from workers.contract.jobs.results import JobFilter
from workers.contract.jobs.store import JobStore
from workers.contract.runtime.redis import connect


@pytest.fixture(scope="module")
def listing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Gateway, dict[str, dict[str, Any]]]]:
    """A gateway with four jobs of its own, by name."""
    folder = tmp_path_factory.mktemp("listing")
    with RedisProcess(folder / "redis") as redis, Gateway(folder, redis) as running:
        ink = style(encoded(picture(seed=51)))
        jobs = {
            "boat": running.accepted({"prompt": "A Boat at night"}, ink),
            "dom": running.accepted({"prompt": "\u0414\u043e\u043c, a boathouse", "method": "ip-adapter"}, ink),
            "large": running.accepted({"prompt": "a house", "model": "tiny-sdxl"}),
            "house": running.accepted({"prompt": "a house"}),
        }
        running.client.delete(f"/jobs/{jobs['house']['id']}")
        yield running, jobs


def found(listing: tuple[Gateway, dict[str, dict[str, Any]]], **query: str) -> list[str]:
    gateway, jobs = listing
    answer = gateway.client.get("/jobs", params=query)
    assert answer.status_code == 200, answer.text
    names = {job["id"]: name for name, job in jobs.items()}
    return [names[job["id"]] for job in answer.json()["jobs"]]


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ({}, ["house", "large", "dom", "boat"]),
        ({"text": "boat"}, ["dom", "boat"]),
        ({"text": " bOAT at"}, ["boat"]),
        ({"text": "\u0434\u043e\u043c"}, ["dom"]),
        ({"text": "nothing like it"}, []),
        ({"method": "ip-adapter"}, ["dom"]),
        ({"method": "prior-noise"}, ["house", "large", "boat"]),
        ({"method": "of-another-release"}, []),
        ({"model": "tiny-sdxl"}, ["large"]),
        ({"text": "house", "state": "canceled"}, ["house"]),
        ({"text": "house", "method": "signal-leak", "model": "tiny-sd15"}, ["house"]),
        ({"created_after": "2100-01-01"}, []),
        ({"created_before": "2100-01-01", "text": "boat"}, ["dom", "boat"]),
        ({"created_before": "2001-02-03T04:05:06Z"}, []),
        ({"created_after": "0001-01-01T00:00:00+14:00", "method": "ip-adapter"}, ["dom"]),
    ],
)
def test_all_that_is_asked_for_must_hold(listing: Any, query: dict[str, str], names: list[str]) -> None:
    assert found(listing, **query) == names


def test_a_time_between_two_jobs_parts_them(listing: Any) -> None:
    _, jobs = listing
    moment = datetime.fromisoformat(jobs["large"]["created_at"])
    assert found(listing, created_after=moment.isoformat()) == ["house", "large"]
    assert found(listing, created_before=moment.isoformat()) == ["dom", "boat"]
    east = moment.astimezone(timezone(timedelta(hours=9)))
    assert found(listing, created_after=east.isoformat(), created_before=east.isoformat()) == []


def test_what_is_found_comes_a_page_at_a_time(listing: Any) -> None:
    gateway, jobs = listing
    seen, query = [], {"text": "boat", "limit": "1"}
    while query.get("cursor") != "":
        page = gateway.client.get("/jobs", params=query).json()
        seen.append([job["id"] for job in page["jobs"]])
        query["cursor"] = page["cursor"] or ""
    assert seen == [[jobs["dom"]["id"]], [jobs["boat"]["id"]]]


def test_jobs_of_a_style_are_those_that_use_one_of_its_pictures(listing: Any) -> None:
    gateway, jobs = listing
    [sha256] = jobs["boat"]["recipe"]["style_images"]
    assert found(listing, style=sha256) == ["dom", "boat"]
    assert found(listing, style="f" * 64) == []
    saved = gateway.client.post("/styles", data={"name": "ink"}, files=style(encoded(picture(seed=51)))).json()
    assert found(listing, style=saved["id"], method="ip-adapter") == ["dom"]
    unknown = gateway.client.get("/jobs?style=unknown")
    assert (unknown.status_code, unknown.json()["errors"][0]["pointer"]) == (422, "#/style")


def test_a_light_look_has_only_what_was_asked_for(listing: Any) -> None:
    gateway, jobs = listing
    light = gateway.client.get("/jobs", params={"fields": "state, progress", "limit": "2"}).json()
    assert light["jobs"] == [
        {"id": jobs["house"]["id"], "state": "canceled", "progress": None},
        {"id": jobs["large"]["id"], "state": "queued", "progress": None},
    ]
    assert light["cursor"]
    whole = gateway.client.get("/jobs", params={"limit": "2"})
    assert whole.json()["jobs"][1]["queue"]["position"] == 0
    queued = gateway.client.get("/jobs", params={"limit": "2", "fields": "queue"}).json()["jobs"][1]
    assert queued["queue"] == whole.json()["jobs"][1]["queue"]
    unknown = gateway.client.get("/jobs?fields=state,speed")
    assert unknown.status_code == 422
    assert "a job has no speed; it has id, kind, state" in unknown.json()["errors"][0]["detail"]


def test_the_client_asks_in_the_same_words(listing: Any) -> None:
    gateway, jobs = listing
    moment = datetime.fromisoformat(jobs["dom"]["created_at"])
    with Client(f"http://127.0.0.1:{gateway.port}") as client:
        page = client.list_jobs(text="boat", created_after=moment)
    assert [job.id for job in page.jobs] == [jobs["dom"]["id"]]


def test_malformed_filters_are_422(listing: Any) -> None:
    for query in ("created_after=soon", "text=" + "a" * 201, "style=%2F", "method=" + "a" * 65):
        assert listing[0].client.get(f"/jobs?{query}").status_code == 422, query


def test_a_page_looks_at_a_bounded_number_of_jobs_and_goes_on_where_it_stopped(gateway_redis: RedisProcess) -> None:
    with connect(gateway_redis.url) as redis:
        store = JobStore(redis, prefix=f"bounded-{threading.get_ident()}:", max_queued=10_000)
        jobs = [new_job(f"j{n}") for n in range(1100)]
        for at in range(0, len(jobs), 100):
            store.submit_all(jobs[at : at + 100])
        wanted = JobFilter(text="NOTHING")
        first = store.page(owner="ann", wanted=wanted)
        assert (first.jobs, first.cursor is not None) == ((), True)
        assert store.page(owner="ann", wanted=wanted, cursor=first.cursor).cursor is None
        seen, cursor = [], ""
        while cursor is not None:
            page = store.page(owner="ann", wanted=JobFilter(method="signal-leak"), limit=400, cursor=cursor)
            seen += [job.id for job in page.jobs]
            cursor = page.cursor
        assert seen == [f"j{n}" for n in range(1099, -1, -1)]
        assert len(store.page(owner="ann", limit=1000).jobs) == 1000
        assert store.page(owner="ann", limit=1000).cursor is not None, "a hundred are left"
        redis.delete(*redis.keys(f"{store._prefix}*"))
