"""What another release wrote does not turn the gateway's answers into 500 (B2)."""

import json
from typing import Any

import pytest

from tests.support.gateway import Gateway
from workers.contract.jobs.results import WorkerStatus
from workers.contract.runtime.redis import connect


@pytest.fixture
def redis(gateway: Gateway) -> Any:
    with connect(gateway.environ["STYLIZE_REDIS_URL"]) as client:
        yield client


def test_an_unreadable_job_is_409_and_its_page_shows_the_others(gateway: Gateway, redis: Any) -> None:
    unreadable, sound = gateway.accepted(), gateway.accepted()
    redis.hset(f"stylize:job:{unreadable['id']}", "request", "{")
    found = gateway.client.get("/jobs", params={"limit": 100}).raise_for_status().json()
    assert sound["id"] in {job["id"] for job in found["jobs"]}
    assert unreadable["id"] in found["unreadable"]
    for path in ("", "/events", "/images/0", "/deliveries"):
        refused = gateway.client.get(f"/jobs/{unreadable['id']}{path}")
        assert (refused.status_code, refused.json()["type"]) == (409, "urn:stylize:problem:unreadable-record")
        assert "queued" in refused.json()["detail"]
    assert gateway.client.delete(f"/jobs/{unreadable['id']}").status_code == 409
    assert redis.hget(f"stylize:job:{unreadable['id']}", "state") == "canceled"
    assert "stylize_unreadable_records_total" in gateway.client.get("/metrics").text
    redis.delete(f"stylize:job:{unreadable['id']}")


def test_a_field_that_is_not_known_is_no_matter(gateway: Gateway, redis: Any) -> None:
    job = gateway.accepted()
    name = f"stylize:job:{job['id']}"
    redis.hset(name, "request", json.dumps(json.loads(redis.hget(name, "request")) | {"upscale": 2}))
    assert gateway.client.get(f"/jobs/{job['id']}").status_code == 200
    assert gateway.client.get("/jobs", params={"limit": 1}).status_code == 200


def test_a_missing_record_does_not_stop_the_page(gateway: Gateway, redis: Any) -> None:
    job = gateway.accepted()
    redis.delete(f"stylize:job:{job['id']}")
    assert gateway.client.get("/jobs").status_code == 200
    assert gateway.client.get(f"/jobs/{job['id']}").status_code == 404


def test_a_worker_with_news_breaks_no_answer(gateway: Gateway, redis: Any) -> None:
    status = json.loads(WorkerStatus(id="new", queues=("tiny-sd15",), models=("tiny-sd15",)).model_dump_json())
    gateway.store._run("workers", "new", json.dumps(status | {"shoes": 3, "version": 2}), 60_000)
    gateway.store._run("workers", "odd", json.dumps(status | {"state": "dreaming"}), 60_000)
    for path in ("/methods", "/models", "/metrics", "/styles"):
        assert gateway.client.get(path).status_code == 200
    assert gateway.client.get("/readyz").status_code in (200, 503)
    gateway.accepted()
    for worker in ("new", "odd"):
        redis.zadd("stylize:workers:until", {worker: 1})


def test_an_unreadable_style_hides_no_other(gateway: Gateway, redis: Any) -> None:
    from tests.support.pictures import style

    made = [
        gateway.client.post("/styles", data={"name": name}, files=style()).raise_for_status().json()["id"]
        for name in ("unreadable", "sound")
    ]
    redis.hset(f"stylize:style:{made[0]}", "text", "{")
    shown = {one["id"] for one in gateway.client.get("/styles").raise_for_status().json()["styles"]}
    assert made[1] in shown
    assert gateway.client.get(f"/styles/{made[0]}").status_code == 409
    for one in made:
        assert gateway.client.delete(f"/styles/{one}").status_code in (204, 409)
