"""Saved styles: made, listed, used, deleted; kept from the sweeper; only their owner's; true to their look."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.support.gateway import Gateway
from tests.support.pictures import FORM, encoded, picture
from workers.contract.blobs import input_name
from workers.contract.queue.notifier import WorkerNotifier
from workers.contract.runtime.redis import connect
from workers.contract.styles.store import Style, StyleReference, StyleStore
from workers.sweeper import Sweeper
from workers.techniques import registry


def references(count: int, first: int = 0) -> list[Any]:
    return [("style_image", (f"{n}.png", encoded(picture(seed=first + n)), "image/png")) for n in range(count)]


def saved(gateway: Gateway, count: int = 2, first: int = 0, **fields: str) -> dict[str, Any]:
    answer = gateway.client.post("/styles", data={"name": "poster", **fields}, files=references(count, first))
    assert answer.status_code == 201, answer.text
    assert answer.headers["location"] == answer.json()["links"]["self"]
    return dict(answer.json())


def posted(gateway: Gateway, **fields: str) -> Any:
    return gateway.client.post("/stylize", files={k: (None, v) for k, v in (FORM | fields).items()})


def test_a_style_stands_for_its_references(gateway: Gateway) -> None:
    style = saved(gateway, style_weights="1,0.5")
    assert gateway.client.get(style["links"]["self"]).json() == style
    job = posted(gateway, style_id=style["id"]).json()
    assert job["recipe"]["style_images"] == [reference["sha256"] for reference in style["references"]]
    assert job["recipe"]["style_weights"] == [1.0, 0.5]
    other = posted(gateway, style_id=style["id"], style_weights="2,2").json()
    assert other["recipe"]["style_weights"] == [2.0, 2.0]


def test_the_heaviest_references_are_used_when_a_method_takes_fewer(gateway: Gateway) -> None:
    style = saved(gateway, 6, style_weights="1,3,1,2,3,2")
    names = [reference["sha256"] for reference in style["references"]]
    job = posted(gateway, style_id=style["id"]).json()
    assert job["recipe"]["style_images"] == [names[1], names[3], names[4], names[5]]
    assert job["recipe"]["style_weights"] == [3.0, 2.0, 3.0, 2.0]
    single = posted(gateway, style_id=style["id"], method="style-aligned", width="128", height="128").json()
    assert single["recipe"]["style_images"] == [names[1]]


def test_styles_are_listed_a_page_at_a_time_and_deleted(gateway: Gateway) -> None:
    made = [saved(gateway, 1)["id"] for _ in range(3)]
    first = gateway.client.get("/styles", params={"limit": 2}).json()
    second = gateway.client.get("/styles", params={"limit": 2, "cursor": first["cursor"]}).json()
    assert [style["id"] for style in first["styles"] + second["styles"]][:3] == made[::-1]
    for style_id in made:
        assert gateway.client.delete(f"/styles/{style_id}").status_code == 204
        assert gateway.client.delete(f"/styles/{style_id}").status_code == 404
        assert gateway.client.get(f"/styles/{style_id}").status_code == 404
        refused = posted(gateway, style_id=style_id)
        assert refused.json()["errors"] == [{"pointer": "#/style_id", "detail": "there is no such style"}]


def test_the_references_of_a_style_outlive_the_retention(gateway: Gateway) -> None:
    style = saved(gateway, 1, first=500)
    (reference,) = (input_name(reference["sha256"]) for reference in style["references"])
    notifier = WorkerNotifier(gateway.environ["STYLIZE_REDIS_URL"], connect(gateway.environ["STYLIZE_REDIS_URL"]))
    sweeper = Sweeper(gateway.store, gateway.blobs, notifier, retention=timedelta(seconds=-2))
    sweeper.collect_orphans()
    assert gateway.blobs.get(reference)
    gateway.client.delete(f"/styles/{style['id']}")
    sweeper.collect_orphans()
    assert reference not in {stored.name for stored in gateway.blobs.list("inputs/")}
    notifier.close()


def style_of(owner: str, versions: dict[str, int], sha256: str) -> Style:
    return Style(
        id=f"style-of-{owner}-{len(versions)}",
        owner=owner,
        name="x",
        references=(StyleReference(sha256=sha256, weight=1),),
        versions=versions,
        created_at=datetime.now(tz=UTC),
    )


def test_another_callers_style_is_not_there(gateway: Gateway) -> None:
    sha256 = saved(gateway, 1)["references"][0]["sha256"]
    theirs = style_of("somebody", {}, sha256)
    assert StyleStore(connect(gateway.environ["STYLIZE_REDIS_URL"])).save(theirs, 10)
    for verb in ("GET", "DELETE"):
        assert gateway.client.request(verb, f"/styles/{theirs.id}").status_code == 404
    assert posted(gateway, style_id=theirs.id).status_code == 422
    assert theirs.id not in gateway.client.get("/styles?limit=100").text


def test_a_method_that_draws_otherwise_now_refuses_the_style(gateway: Gateway) -> None:
    new = saved(gateway, 1)
    assert new["versions"] == {name: registry.spec(name).version for name in registry.names()}
    job = gateway.store.get(gateway.accepted()["id"])
    assert job is not None
    now = registry.spec("signal-leak").version
    old = style_of(job.owner, {"signal-leak": now + 1}, new["references"][0]["sha256"])
    assert StyleStore(connect(gateway.environ["STYLIZE_REDIS_URL"])).save(old, 1000)
    refused = posted(gateway, style_id=old.id)
    assert refused.status_code == 422
    assert "save it again" in refused.json()["errors"][0]["detail"]
    assert posted(gateway, style_id=old.id, method="ip-adapter").status_code == 202


def test_the_number_of_styles_is_bounded(gateway: Gateway) -> None:
    styles = StyleStore(connect(gateway.environ["STYLIZE_REDIS_URL"]))
    assert styles.save(style_of("collector", {}, "c" * 64), 1)
    assert styles.save(style_of("collector", {}, "c" * 64), 1), "the same again is no other"
    assert not styles.save(style_of("collector", {"a": 1}, "c" * 64), 1)


@pytest.mark.parametrize(
    ("fields", "count", "pointer"),
    [
        ({}, 0, "#/style_image"),
        ({}, 11, "#/style_image"),
        ({"name": " "}, 1, "#/name"),
        ({"name": "a" * 101}, 1, "#/name"),
        ({"style_weights": "1,2"}, 1, "#/style_weights"),
        ({"style_weights": "x"}, 1, "#/style_weights"),
        ({"prompt": "x"}, 1, "#/prompt"),
    ],
)
def test_what_is_no_style_is_refused(gateway: Gateway, fields: dict[str, str], count: int, pointer: str) -> None:
    body = [(k, (None, v)) for k, v in ({"name": "a"} | fields).items()] + references(count)
    refused = gateway.client.post("/styles", files=body)
    assert refused.status_code == 422
    assert pointer in [error["pointer"] for error in refused.json()["errors"]]


def test_a_style_goes_with_nothing_that_contradicts_it(gateway: Gateway) -> None:
    style = saved(gateway, 1)
    both = gateway.post({"style_id": style["id"]})
    assert (both.status_code, both.json()["errors"][0]["pointer"]) == (422, "#/style_id")
    recipe = gateway.accepted()["recipe"]
    changed = gateway.client.post(
        "/stylize", files={"recipe": (None, json.dumps(recipe)), "style_id": (None, style["id"])}
    ).json()["recipe"]
    assert changed["style_images"] == [style["references"][0]["sha256"]]
