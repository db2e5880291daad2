"""Styles prepared in advance by a real worker: the next job finds them, a new worker knows nothing of them."""

from collections.abc import Iterator
from typing import Any

import pytest

from deploy.embedded.demo import EXAMPLES
from tests.support.service import Service, kill, service, style_file, until

pytestmark = pytest.mark.xdist_group("service")
METHODS = ("signal-leak", "style-aligned", "style-id")


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with service(tmp_path_factory.mktemp("models")) as started:
        yield started


def saved(running: Service, *precompute: str) -> str:
    fields = {"name": "poster"} | ({"precompute": ",".join(precompute)} if precompute else {})
    answer = running.client.post("/styles", data=fields, files=style_file())
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


def states(running: Service, style_id: str) -> dict[str, str]:
    known = running.client.get(f"/styles/{style_id}").raise_for_status().json()["prepared"]
    return {one["method"]: one["state"] for one in known}


def told(running: Service, style_id: str) -> dict[str, int]:
    known = running.client.get(f"/styles/{style_id}").raise_for_status().json()["prepared"]
    return {one["method"]: one["workers"] for one in known}


def drawn(running: Service, style_id: str, method: str) -> dict[str, Any]:
    """A job with the method's own settings, but for its prompt and content."""
    files: dict[str, Any] = {"prompt": (None, "a boat"), "method": (None, method), "style_id": (None, style_id)}
    if method == "style-id":
        files["content_image"] = ("content.png", (EXAMPLES / "content.png").read_bytes(), "image/png")
        files["params"] = (None, '{"fit": "exact"}')
    accepted = running.client.post("/stylize", files=files)
    assert accepted.status_code == 202, accepted.text
    job = running.finished(accepted.json()["id"])
    assert job["state"] == "succeeded", job
    return job


def test_the_first_job_of_a_prepared_style_finds_all_in_the_cache(running: Service) -> None:
    style_id = saved(running, *METHODS)
    until(lambda: all(states(running, style_id)[method] == "ready" for method in METHODS), "the style is prepared")
    assert states(running, style_id)["ip-adapter"] == "cold"
    until(lambda: all(told(running, style_id)[method] == 1 for method in METHODS), "the worker tells of it itself")
    for method in METHODS:
        assert drawn(running, style_id, method)["cache"]["style"] == "hit", method
    running.client.delete(f"/styles/{style_id}").raise_for_status()
    again = saved(running)
    until(lambda: set(states(running, again).values()) == {"cold"}, "what was deleted is not there any more")
    assert drawn(running, again, "style-aligned")["cache"]["style"] == "miss"
    running.client.delete(f"/styles/{again}").raise_for_status()


def test_a_new_worker_has_to_prepare_it_again(running: Service) -> None:
    style_id = saved(running)

    def prepared() -> None:
        asked = running.client.post(f"/styles/{style_id}/precompute", files={"method": (None, "signal-leak")})
        assert asked.status_code == 202, asked.text
        until(lambda: told(running, style_id)["signal-leak"] == 1, "the style is prepared")

    prepared()
    [worker] = running.workers
    kill(worker)
    until(lambda: states(running, style_id)["signal-leak"] == "cold", "the worker's word is believed no more")
    worker.start()
    prepared()
    assert drawn(running, style_id, "signal-leak")["cache"]["style"] == "hit"
