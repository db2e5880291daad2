"""Comparisons: all jobs or none, followed and canceled together, on a sheet when done; the test is the worker."""

import json
from io import BytesIO
from typing import Any

import pytest
from PIL import Image

from deploy.embedded.redis import RedisProcess
from tests.support.gateway import Gateway
from tests.support.pictures import encoded, multipart, picture, style
from workers.contract.blobs import job_prefix
from workers.contract.runtime.redis import connect

SMALL = {"prompt": "a house", "width": "128", "height": "128", "steps": "2"}


def asked(gateway: Gateway, files: Any = None, headers: Any = None, **fields: Any) -> Any:
    data = {**SMALL, "method": ["signal-leak", "ip-adapter"], "seed": "7", **fields}
    return gateway.client.post("/comparisons", data=data, files=files or style(), headers=headers)


def accepted(gateway: Gateway, **kwargs: Any) -> dict[str, Any]:
    answer = asked(gateway, **kwargs)
    assert answer.status_code == 202, answer.text
    return dict(answer.json())


def jobs_of(comparison: dict[str, Any]) -> list[str]:
    return [cell["job"]["id"] for cell in comparison["cells"]]


def test_every_method_draws_with_every_strength_and_seed(gateway: Gateway) -> None:
    params = json.dumps({"signal-leak": {"leak_scale": 0.5}})
    made = accepted(gateway, seed=["7", "8"], strength="0.5,1", params=params)
    cells = [(cell["method"], cell["strength"], cell["seed"]) for cell in made["cells"]]
    assert cells == [(m, t, s) for m in ("signal-leak", "ip-adapter") for t in (0.5, 1.0) for s in (7, 8)]
    assert made["cells"][0]["label"] == "signal-leak 0.5 seed 7"
    recipes = [cell["job"]["recipe"] for cell in made["cells"]]
    assert recipes[0]["params"]["leak_scale"] == 0.5
    assert len({tuple(recipe["style_images"]) for recipe in recipes}) == 1
    assert (made["state"], made["progress"]) == ("running", {"finished": 0, "total": 8, "fraction": 0.0})
    gateway.client.delete(made["links"]["self"])


def test_one_seed_is_drawn_for_all(gateway: Gateway) -> None:
    made = accepted(gateway, seed="")
    assert len({cell["seed"] for cell in made["cells"]}) == 1
    gateway.client.delete(made["links"]["self"])


def test_a_picture_that_only_some_methods_take_is_left_out_for_the_others(gateway: Gateway) -> None:
    files = [*style(), ("content_image", ("c.png", encoded(picture(seed=4)), "image/png"))]
    made = accepted(gateway, files=files, method=["style-aligned", "style-id"])
    assert [bool(cell["job"]["recipe"]["content_image"]) for cell in made["cells"]] == [False, True]
    gateway.client.delete(made["links"]["self"])


def test_a_sheet_when_all_are_done(gateway: Gateway) -> None:
    made = accepted(gateway, method="signal-leak", seed="1,2,3")
    path = made["links"]["self"]
    first, second, third = jobs_of(made)
    gateway.finish(first, encoded(picture(seed=1)))
    half = gateway.client.get(path).json()
    assert half["progress"]["finished"] == 1
    assert half["links"]["sheet"] is None
    assert gateway.client.get(f"{path}/sheet").status_code == 404
    gateway.finish(second, encoded(picture(seed=2)))
    gateway.client.delete(f"/jobs/{third}")
    done = gateway.client.get(path).json()
    assert (done["state"], done["progress"]["fraction"]) == ("finished", 1.0)
    sheet = gateway.client.get(done["links"]["sheet"])
    assert sheet.headers["content-type"] == "image/png"
    drawn = Image.open(BytesIO(sheet.content))
    above = drawn.height - 280
    assert (drawn.width, above) == (3 * 256, 22 + 128 + 24 + 2 * 8), "a line of prompt, the reference and its label"
    assert drawn.getpixel((2 * 256 + 20, above + 20)) == (128, 128, 128), "a job without a picture is grey"
    reference = Image.open(BytesIO(style()[0][1][1])).convert("RGB").resize((128, 96), Image.Resampling.LANCZOS)
    assert drawn.crop((8, 46, 136, 142)).tobytes() == reference.tobytes()
    assert gateway.client.get(done["links"]["sheet"]).content == sheet.content
    known = {"If-None-Match": sheet.headers["etag"]}
    assert gateway.client.get(done["links"]["sheet"], headers=known).status_code == 304
    assert gateway.client.delete(f"/jobs/{first}").status_code == 204
    other = gateway.client.get(done["links"]["sheet"], headers=known)
    redrawn = Image.open(BytesIO(other.content))
    assert redrawn.getpixel((20, above + 20)) == (128, 128, 128), "a deleted picture is not shown"
    assert gateway.client.delete(f"/jobs/{second}").status_code == 204
    gateway.client.delete(f"/jobs/{third}")
    assert gateway.client.get(done["links"]["sheet"]).status_code == 404
    assert not [stored for job in (first, second, third) for stored in gateway.blobs.list(job_prefix(job))]


def test_comparisons_are_listed_and_named_by_their_jobs(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("listing")
    with RedisProcess(folder / "redis") as redis, Gateway(folder, redis) as gateway:
        made = [accepted(gateway, seed="1,2", prompt=f"house {n}") for n in range(3)]
        assert {cell["job"]["comparison"] for cell in made[0]["cells"]} == {made[0]["id"]}
        assert gateway.client.get(f"/jobs/{jobs_of(made[1])[0]}").json()["comparison"] == made[1]["id"]
        assert gateway.client.get(f"/jobs/{gateway.accepted()['id']}").json()["comparison"] is None
        first = gateway.client.get("/comparisons", params={"limit": 2}).json()
        rest = gateway.client.get("/comparisons", params={"limit": 2, "cursor": first["cursor"]}).json()
        listed = first["comparisons"] + rest["comparisons"]
        assert [(one["id"], one["prompt"]) for one in listed] == [(one["id"], one["prompt"]) for one in made[::-1]]
        assert rest["cursor"] is None
        assert [cell["job"] for cell in listed[2]["cells"]] == jobs_of(made[0])
        assert (listed[0]["state"], listed[0]["progress"]["finished"]) == ("running", 0)
        gateway.client.delete(made[2]["links"]["cancel"])
        assert gateway.client.get("/comparisons").json()["comparisons"][0]["state"] == "finished"
        assert gateway.client.get("/comparisons?limit=51").status_code == 422
        with connect(redis.url) as client:
            client.delete(f"stylize:group:{made[1]['id']}")  # as when the retention is over
        assert [one["id"] for one in gateway.client.get("/comparisons").json()["comparisons"]] == [
            made[2]["id"],
            made[0]["id"],
        ]
        with connect(redis.url) as client:
            assert client.zcard("stylize:groups:anyone") == 2


def test_a_new_comparison_makes_room_in_the_list_for_those_that_are_over(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    folder = tmp_path_factory.mktemp("over")
    with RedisProcess(folder / "redis") as redis, Gateway(folder, redis) as gateway, connect(redis.url) as client:
        over = accepted(gateway)
        client.delete(f"stylize:group:{over['id']}")
        kept = accepted(gateway)
        assert client.zrange("stylize:groups:anyone", 0, -1) == [kept["id"]]


def test_a_finished_comparison_is_deleted_with_its_jobs(gateway: Gateway) -> None:
    made = accepted(gateway)
    path, jobs = made["links"]["self"], jobs_of(made)
    assert made["links"]["delete"] is None
    gateway.finish(jobs[0], encoded(picture()))
    assert gateway.client.delete(path).json()["cells"][1]["job"]["state"] == "canceled"
    done = gateway.client.delete(f"{path}?cancel_only=true").json()
    assert (done["state"], done["links"]["delete"], done["links"]["cancel"]) == ("finished", path, None)
    assert gateway.client.delete(path).status_code == 204
    assert gateway.store.many(jobs) == {}
    assert gateway.client.get(path).status_code == 404
    assert gateway.client.delete(path).status_code == 404


def test_cancel_ends_all_that_are_not_done(gateway: Gateway) -> None:
    made = accepted(gateway)
    gateway.finish(jobs_of(made)[0], encoded(picture()))
    canceled = gateway.client.delete(made["links"]["self"]).json()
    assert [cell["job"]["state"] for cell in canceled["cells"]] == ["succeeded", "canceled"]


def test_a_saved_style_serves_each_method_what_it_takes(gateway: Gateway) -> None:
    files = [("style_image", (f"{n}.png", encoded(picture(seed=n)), "image/png")) for n in range(3)]
    saved = gateway.client.post("/styles", data={"name": "a"}, files=files).json()
    body = multipart(
        SMALL | {"style_id": saved["id"], "method": "signal-leak,style-aligned", "seed": "7", "strength": "1"}, {}
    )
    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    made = gateway.client.post("/comparisons", content=body, headers=headers).json()
    assert [len(cell["job"]["recipe"]["style_images"]) for cell in made["cells"]] == [3, 1]
    gateway.client.delete(made["links"]["self"])


def test_the_same_key_is_the_same_comparison(gateway: Gateway) -> None:
    key = {"Idempotency-Key": "compare once"[:7]}
    first, again = accepted(gateway, headers=key), accepted(gateway, headers=key)
    assert (first["id"], jobs_of(first)) == (again["id"], jobs_of(again))
    assert asked(gateway, headers=key, seed="7,8").status_code == 409
    gateway.client.delete(first["links"]["self"])


@pytest.mark.parametrize(
    ("fields", "pointer", "words"),
    [
        ({"method": ""}, "#/method", "once for each"),
        ({"method": ["signal-leak", "nonsense"]}, "#/method", "must be one of"),
        ({"seed": ",".join(map(str, range(40)))}, "#/method", "at most 64"),
        ({"strength": "0.5,2"}, "#/strength", "signal-leak 2: must be a number"),
        ({"params": '{"style-id": {}}'}, "#/params", "not compared"),
        ({"params": "[]"}, "#/params", "must be an object"),
        ({"params": '{"signal-leak": {"x": 1}}'}, "#/params/x", "signal-leak: unknown parameter"),
        ({"recipe": "{}"}, "#/recipe", "unknown field"),
        ({"method": "signal-leak,style-id"}, "#/content_image", "style-id: is required"),
    ],
)
def test_what_cannot_be_compared_is_refused_and_leaves_no_job(
    gateway: Gateway, fields: dict[str, Any], pointer: str, words: str
) -> None:
    before = gateway.store.page(limit=1).jobs
    refused = asked(gateway, **fields)
    assert refused.status_code == 422
    errors = refused.json()["errors"]
    assert any(error["pointer"] == pointer and words in error["detail"] for error in errors), errors
    assert gateway.store.page(limit=1).jobs == before


def test_all_or_none(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("small")
    with RedisProcess(folder / "redis") as redis, Gateway(folder, redis, {"STYLIZE_MAX_QUEUED": "3"}) as gateway:
        assert asked(gateway, seed="7,8").status_code == 429
        assert gateway.store.page().jobs == ()
        assert asked(gateway, seed="7").status_code == 202


@pytest.mark.parametrize("verb", ["GET", "DELETE"])
def test_an_unknown_comparison_is_not_found(gateway: Gateway, verb: str) -> None:
    assert gateway.client.request(verb, "/comparisons/unknown").status_code == 404
    assert gateway.client.get("/comparisons/unknown/sheet").status_code == 404
