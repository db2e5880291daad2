"""The method of a request that names none: the best measured on its model that takes what is given."""

import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from app.cli.main import app
from deploy.embedded.redis import RedisProcess
from model_store.catalogue.evaluation import EvaluationFigures
from tests.support.gateway import Gateway
from tests.support.pictures import FORM, encoded, picture, style
from workers.techniques.measured import rank_methods

CONTENT = ("content_image", ("content.png", encoded(picture(seed=9)), "image/png"))
OWN_SIZE = {"width": None, "height": None}


@pytest.fixture(scope="module")
def offering(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A gateway of the starter model, which ships with its evaluation, and of two models without one."""
    folder = tmp_path_factory.mktemp("offering")
    with (
        RedisProcess(folder / "redis") as redis,
        Gateway(folder, redis, {"STYLIZE_MODELS": "starter,tiny-sd15,tiny-sdxl"}) as running,
    ):
        yield running


def recommended(gateway: Gateway) -> dict[tuple[str, str], str]:
    methods = gateway.client.get("/methods").raise_for_status().json()["methods"]
    return {(one["model"], one["input"]): method["name"] for method in methods for one in method["recommended"]}


def test_methods_tell_which_is_best_measured_and_why(offering: Gateway) -> None:
    assert recommended(offering) == {("starter", "text"): "style-aligned", ("starter", "content_image"): "style-id"}
    methods = {one["name"]: one for one in offering.client.get("/methods").json()["methods"]}
    [aligned] = methods["style-aligned"]["recommended"]
    assert aligned["reason"] == "best measured from a text: style similarity 0.57, content accuracy 1.00"
    assert (round(aligned["style_similarity"], 2), aligned["content_accuracy"]) == (0.57, 1.0)
    assert methods["instantstyle"]["recommended"] == []


@pytest.mark.parametrize(
    ("fields", "files", "method", "strength"),
    [
        ({}, style(), "style-aligned", 1.0),
        ({"method": ""}, style(), "style-aligned", 1.0),
        ({}, [*style(), CONTENT], "style-id", 0.5),
        ({}, [*style(), *style(encoded(picture(seed=4)))], "ip-adapter", 0.5),
        ({"model": "tiny-sd15"}, style(), "instantstyle", 1.0),
        ({"model": "tiny-sd15"}, [*style(), CONTENT], "csgo", 1.0),
        ({"model": "tiny-sdxl", "method": "prior-noise"}, style(), "signal-leak", 1.0),
    ],
)
def test_a_request_without_a_method_gets_the_best_that_takes_what_it_gives(
    offering: Gateway, fields: dict[str, Any], files: list[Any], method: str, strength: float
) -> None:
    recipe = offering.accepted({"method": None, **OWN_SIZE, **fields}, files)["recipe"]
    assert (recipe["method"], recipe["strength"]) == (method, strength)


def test_a_recipe_keeps_its_own_method(offering: Gateway) -> None:
    recipe = offering.accepted({"model": "starter"})["recipe"]
    assert recipe["method"] == "signal-leak"
    again = offering.accepted({**dict.fromkeys(FORM), "recipe": json.dumps(recipe)}, [])
    assert again["recipe"] == recipe


def test_what_is_wrong_beside_a_missing_method_is_said(offering: Gateway) -> None:
    wrong = offering.post({"method": None, "model": "sdxl-turbo", "strength": "2"})
    assert {fault["pointer"] for fault in wrong.json()["errors"]} == {"#/model", "#/strength"}
    five = offering.post({"method": None}, [style(encoded(picture(seed=n)))[0] for n in range(5)])
    assert (five.status_code, five.json()["errors"][0]["pointer"]) == (422, "#/style_image")


def test_a_saved_style_is_drawn_in_by_the_best(offering: Gateway) -> None:
    files = [("style_image", (f"{n}.png", encoded(picture(seed=n)), "image/png")) for n in range(2)]
    saved = offering.client.post("/styles", data={"name": "two"}, files=files).raise_for_status().json()
    recipe = offering.accepted({"method": None, **OWN_SIZE, "style_id": saved["id"]}, [])["recipe"]
    assert (recipe["method"], len(recipe["style_images"])) == ("style-aligned", 1)


def test_the_command_takes_the_default_of_the_service(offering: Gateway, tmp_path: Path) -> None:
    (tmp_path / "style.png").write_bytes(encoded(picture()))
    command = ["run", "--style", str(tmp_path / "style.png"), "--prompt", "a house", "--detach", "--json"]
    done = CliRunner().invoke(app, [*command, "--url", f"http://127.0.0.1:{offering.port}"])
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["method"] == "style-aligned"


def test_openais_clients_get_the_same_default(offering: Gateway) -> None:
    known = {job.id for job in offering.store.page().jobs}
    form = {"data": {"model": "gpt-image-1", "prompt": "a"}, "files": [("image", style()[0][1])]}
    with ThreadPoolExecutor() as pool:
        answer = pool.submit(offering.client.post, "/v1/images/edits", **form)
        while not (new := [job for job in offering.store.page().jobs if job.id not in known]):
            assert not answer.done(), answer.result().text
            time.sleep(0.01)
        offering.finish(new[0].id, encoded(picture()))
        assert answer.result().status_code == 200
    assert new[0].request.method == "style-aligned"


def figures(method: str, strength: float | None, similarity: float, accuracy: float = 1.0, leak: float = 0.0) -> Any:
    measured = {"style_similarity": similarity, "content_accuracy": accuracy, "leak_rate": leak}
    return {
        "method": method,
        "strength": strength,
        **{k: {"mean": v, "low": v, "high": v} for k, v in measured.items()},
    }


def test_the_ranking_is_by_what_the_default_strength_gives() -> None:
    evaluation = EvaluationFigures.model_validate(
        {
            "cases": 4,
            "figures": [
                figures("plain text-to-image", None, 0.99),
                figures("ip-adapter", 1, 0.9),
                figures("ip-adapter", 0.5, 0.2),
                figures("signal-leak", 1, 0.3),
                figures("deadiff", 1, 0.8, accuracy=0.3),
                figures("csgo", 1, 0.8, leak=0.65),
                figures("a-method-of-another-release", 1, 0.99),
            ],
        }
    )
    ranked = [one.method for one in rank_methods(evaluation, "sd15")]
    assert ranked == ["signal-leak", "csgo", "deadiff", "ip-adapter"]
    assert [one.strength for one in rank_methods(evaluation, "sd15") if one.method == "ip-adapter"] == [0.5]
    assert "deadiff" not in [one.method for one in rank_methods(evaluation, "sdxl")], "it does not run there"
    assert rank_methods(None, "sd15") == ()
