"""`Prefer: wait=n` and `Cancel-After`."""

import threading
import time
from datetime import timedelta

import pytest

from app.api.headers import cancel_after, wait_seconds
from app.errors import Invalid
from tests.support.gateway import Gateway
from tests.support.pictures import encoded, picture


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("wait=5", 5),
        ("WAIT = 5", 5),
        ('wait="5"', 5),
        ("respond-async, wait=10", 10),
        ("wait=7; foo=bar", 7),
        ("wait", 60),
        ("wait=0", 0),
        ("wait=999999999", 60),
        ("wait=-1", None),
        ("wait=soon", None),
        ("return=minimal", None),
        ("", None),
        (None, None),
    ],
)
def test_what_is_not_understood_is_no_preference(header: str | None, seconds: int | None) -> None:
    assert wait_seconds(header, 60) == seconds


@pytest.mark.parametrize(
    ("header", "seconds"), [("90", 90), ("90s", 90), ("5m", 300), ("1h30m", 5400), ("24h", 86400), (" 1 ", 1)]
)
def test_durations(header: str, seconds: int) -> None:
    assert cancel_after(header) == timedelta(seconds=seconds)


@pytest.mark.parametrize("header", ["", "0", "0s", "25h", "-1", "1.5", "soon", "1d", "m", "9" * 30])
def test_other_durations_are_refused(header: str) -> None:
    with pytest.raises(Invalid, match="Cancel-After"):
        cancel_after(header)


def test_a_job_that_ends_in_time_is_answered_with_200(gateway: Gateway) -> None:
    key = {"Idempotency-Key": "answered-in-time"}
    job = gateway.accepted(**key)
    worker = threading.Timer(0.2, gateway.finish, (job["id"], encoded(picture())))
    worker.start()
    answer = gateway.post(**key, Prefer="wait=60")
    worker.join()
    assert (answer.status_code, answer.json()["state"], answer.headers["preference-applied"]) == (
        200,
        "succeeded",
        "wait=60",
    )
    assert gateway.client.get(answer.json()["images"][0]["url"]).status_code == 200
    assert answer.headers["location"] == f"/jobs/{job['id']}"


def test_a_job_that_does_not_is_answered_with_202(gateway: Gateway) -> None:
    began = time.monotonic()
    answer = gateway.post(Prefer="wait=1")
    assert time.monotonic() - began >= 1
    assert (answer.status_code, answer.json()["state"]) == (202, "queued")
    assert answer.headers["preference-applied"] == "wait=1"


def test_a_preference_for_no_wait_is_answered_at_once(gateway: Gateway) -> None:
    assert gateway.post(Prefer="wait=0").status_code == 202
    assert "preference-applied" not in gateway.post(Prefer="respond-async").headers


def test_a_job_not_done_by_its_deadline_fails(gateway: Gateway) -> None:
    before = gateway.store.now()
    job = gateway.accepted(**{"Cancel-After": "1"})
    after = gateway.store.now()
    record = gateway.store.get(job["id"])
    assert record is not None
    assert record.deadline is not None
    assert before <= record.deadline - timedelta(seconds=1) <= after
    while gateway.store.now() < record.deadline:
        time.sleep(0.05)
    gateway.store.sweep()
    failed = gateway.client.get(job["links"]["self"]).json()
    assert (failed["state"], failed["error"]["code"]) == ("failed", "deadline")


def test_a_bad_deadline_stores_nothing(gateway: Gateway) -> None:
    answer = gateway.post(**{"Cancel-After": "soon"})
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"] == "#/Cancel-After"
