"""A line for each request, told by its route; each answer has an id that the log knows."""

import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest

from app.api.problems import report_bug
from app.auth.api_key import create_api_key
from app.auth.key_store import KeyStore
from deploy.embedded.redis import RedisProcess
from tests.support.gateway import Gateway
from tests.support.service import until
from workers.contract.runtime.redis import connect

FIELDS = {"request_id", "method", "route", "status", "seconds", "bytes", "key"}


class Told:
    """A gateway that logs in JSON, and the token of a key of it."""

    def __init__(self, gateway: Gateway, token: str) -> None:
        self.gateway = gateway
        self.key = {"Authorization": f"Bearer {token}"}
        self.token = token

    def lines(self) -> list[dict[str, Any]]:
        text = self.gateway.log.read_text()
        told = [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]
        return [line for line in told if line["logger"] == "app.access"]

    def line(self, request_id: str) -> dict[str, Any]:
        """Return the line of a request; it is written once the answer is sent."""
        until(lambda: [line for line in self.lines() if line["request_id"] == request_id], f"a line of {request_id}")
        (found,) = (line for line in self.lines() if line["request_id"] == request_id)
        return found


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Told]:
    folder = tmp_path_factory.mktemp("told")
    with RedisProcess(folder / "redis") as redis, Gateway(folder, redis, {"STYLIZE_LOG_FORMAT": "json"}) as gateway:
        made = create_api_key("alice")
        with connect(redis.url) as client:
            KeyStore(client).put(made.key)
        yield Told(gateway, str(made.token))


def test_a_request_is_one_line(told: Told) -> None:
    answer = told.gateway.client.get("/v1/jobs/unknown?signature=secret", headers=told.key | {"X-Request-Id": "abc-1"})
    assert answer.headers["x-request-id"] == "abc-1"
    line = told.line("abc-1")
    assert line.keys() >= FIELDS
    assert {name: line[name] for name in ("method", "route", "status", "bytes", "key", "level")} == {
        "method": "GET",
        "route": "/jobs/{job_id}",
        "status": 404,
        "bytes": len(answer.content),
        "key": "alice",
        "level": "info",
    }
    assert 0 < line["seconds"] < 60


@pytest.mark.parametrize(
    ("path", "status"), [("/jobs", 401), ("/no/such/page-of-theirs", 404), ("/v1/styles?cursor=x", 401)]
)
def test_refusals_are_told_and_nothing_that_the_caller_wrote(told: Told, path: str, status: int) -> None:
    answer = told.gateway.client.get(path, headers={"Authorization": "Bearer nonsense", "User-Agent": "theirs"})
    line = told.line(answer.headers["x-request-id"])
    assert (line["status"], line["key"]) == (status, None)
    assert "theirs" not in json.dumps(line)
    assert "nonsense" not in json.dumps(line)


@pytest.mark.parametrize("given", ["", "a b", "x" * 65, "line\tbreak", "é"])
def test_an_id_that_is_none_is_replaced(told: Told, given: str) -> None:
    answer = told.gateway.client.get("/jobs", headers={"X-Request-Id": given.encode()})
    assert len(answer.headers["x-request-id"]) == 16
    assert told.line(answer.headers["x-request-id"])


def test_probes_and_parts_of_pages_are_told_at_debug_only(told: Told) -> None:
    ids = [
        told.gateway.client.get(path).headers["x-request-id"]
        for path in ("/livez", "/readyz", "/metrics", "/studio/js/main.js")
    ]
    told.line(told.gateway.client.get("/jobs").headers["x-request-id"])
    assert {line["request_id"] for line in told.lines()}.isdisjoint(ids)


def test_no_line_holds_a_key(told: Told) -> None:
    told.line(told.gateway.client.get("/jobs", headers=told.key).headers["x-request-id"])
    assert told.token.rpartition("_")[2] not in told.gateway.log.read_text()


def test_a_bug_is_told_with_the_id_under_which_the_log_has_it(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR):
        answer = report_bug(ValueError("what the caller sent"), "abc-2")
    document = json.loads(bytes(answer.body))
    assert (document["status"], document["instance"]) == (500, "urn:stylize:request:abc-2")
    assert "abc-2" in document["detail"]
    (record,) = caplog.records
    assert record.__dict__["request_id"] == "abc-2"
    assert "abc-2" in record.getMessage()
    assert "what the caller sent" not in caplog.text + str(document)


def test_without_the_setting_there_is_no_line(gateway_redis: RedisProcess, tmp_path: Any) -> None:
    quiet = {"STYLIZE_LOG_FORMAT": "json", "STYLIZE_GATEWAY_ACCESS_LOG": "false"}
    with Gateway(tmp_path, gateway_redis, quiet) as gateway:
        assert gateway.client.get("/jobs").headers["x-request-id"]
    assert "listening" in gateway.log.read_text()
    assert "app.access" not in gateway.log.read_text()
