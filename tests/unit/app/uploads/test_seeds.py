"""Seeds on their way through clients: drawn ones survive any JSON parser, and each picture's can be asked for again."""

import json
from typing import Any

import pytest

from tests.support.gateway import Gateway
from tests.support.pictures import style

LAST = 2**63 - 1


def with_doubles(text: str) -> Any:
    """Return what a JSON parser reads that has doubles only, such as that of JavaScript."""
    return json.loads(text, parse_int=lambda digits: int(float(digits)))


@pytest.mark.parametrize("asked", [None, "", "-1", " -1 "])
def test_a_drawn_seed_survives_a_parser_of_doubles(gateway: Gateway, asked: str | None) -> None:
    answer = gateway.post({"seed": asked})
    read = with_doubles(answer.text)["recipe"]
    assert read == answer.json()["recipe"]
    assert 0 <= read["seed"] < 2**32
    again = gateway.accepted({"seed": str(read["seed"])})["recipe"]
    recipe = gateway.client.post("/stylize", data={"recipe": json.dumps(read)}, files={"style_image": style()[0][1]})
    assert again == recipe.json()["recipe"] == read


def test_a_drawn_seed_of_a_comparison_survives_too(gateway: Gateway) -> None:
    for asked, count in ((None, 1), ("-1", 1), ("7,-1", 2)):
        body = {"method": "signal-leak", "prompt": "a"} | ({} if asked is None else {"seed": asked})
        made = gateway.client.post("/comparisons", data=body, files=style())
        seeds = [cell["seed"] for cell in with_doubles(made.text)["cells"]]
        assert seeds == [cell["seed"] for cell in made.json()["cells"]]
        assert len(seeds) == count
        assert all(0 <= seed < 2**32 for seed in seeds)
        gateway.client.delete(made.json()["links"]["self"])


def test_each_request_draws_its_own(gateway: Gateway) -> None:
    seeds = {gateway.accepted({"seed": "-1"})["recipe"]["seed"] for _ in range(3)}
    assert len(seeds) == 3


def test_a_repeated_request_for_a_drawn_seed_is_the_same_job(gateway: Gateway) -> None:
    key = {"Idempotency-Key": "draws-once"}
    first = gateway.accepted({"seed": "-1"}, **key)
    assert gateway.accepted({"seed": "-1"}, **key)["recipe"] == gateway.accepted({"seed": None}, **key)["recipe"]
    assert gateway.accepted({"seed": "-1"}, **key)["id"] == first["id"]


@pytest.mark.parametrize(("seed", "pictures"), [(LAST, 1), (LAST - 1, 2), (LAST - 7, 8)])
def test_a_series_may_end_at_the_last_seed_and_not_beyond(gateway: Gateway, seed: int, pictures: int) -> None:
    fields = {"seed": str(seed), "num_images": str(pictures)}
    assert gateway.accepted(fields)["recipe"]["seed"] == seed
    if pictures > 1:
        refused = gateway.post(fields | {"seed": str(seed + 1)})
        assert refused.status_code == 422
        (fault,) = refused.json()["errors"]
        assert fault["pointer"] == "#/seed"
        assert f"from 0 to {seed} with num_images {pictures}" in fault["detail"]
