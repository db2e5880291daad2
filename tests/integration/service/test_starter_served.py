"""The starter model through the real service: objects can be named, references give their style, seeds repeat."""

from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import model_store
from tests.support.service import Service, service
from workers.evaluation.cases import Case, cases
from workers.techniques import registry
from workers.training.starter.export import recipe_of
from workers.training.starter.judges import Judges, load_judges
from workers.training.starter.metrics import style_similarity
from workers.training.starter.networks.patch_code import as_tensor

pytestmark = pytest.mark.xdist_group("starter")
WEIGHTS = Path(model_store.__file__).parent / "starter" / "weights"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with service(tmp_path_factory.mktemp("store"), environ={"STYLIZE_MODELS": "starter"}) as running:
        yield running


@pytest.fixture(scope="module")
def judges() -> Judges:
    return load_judges(WEIGHTS / "judges.safetensors")


@pytest.fixture(scope="module")
def asked() -> list[Case]:
    return cases(recipe_of(WEIGHTS), 6)


def png(picture: Image.Image) -> bytes:
    data = BytesIO()
    picture.save(data, "PNG")
    return data.getvalue()


def posted(served: Service, case: Case, **fields: Any) -> dict[str, Any]:
    files = {"style_image": ("style.png", png(case.style)), "content_image": ("content.png", png(case.content))}
    driven = registry.spec(fields["method"]).inputs
    if driven.content_image == "none":
        del files["content_image"]
    if driven.references[1] == 0:
        del files["style_image"]
    data = {"prompt": case.prompt, "seed": str(case.seed)} | {name: str(value) for name, value in fields.items()}
    accepted = served.client.post("/stylize", data=data, files=files)
    assert accepted.status_code == 202, accepted.text
    job = served.finished(accepted.json()["id"])
    assert job["state"] == "succeeded", job
    return job


def drawn(served: Service, case: Case, **fields: Any) -> bytes:
    return served.client.get(posted(served, case, **fields)["images"][0]["url"]).raise_for_status().content


def pixels(pictures: list[bytes]) -> Any:
    return as_tensor(np.stack([np.asarray(Image.open(BytesIO(data)).convert("RGB")) for data in pictures]))


def test_plain_pictures_show_what_was_asked_for_and_references_give_their_style(served, judges, asked) -> None:
    plain = [drawn(served, case, method="ip-adapter", strength=0) for case in asked]
    styled = [drawn(served, case, method="ip-adapter", strength=1) for case in asked]
    named = [seen == case.asked for seen, case in zip(judges.classify(pixels(plain)), asked, strict=True)]
    assert sum(named) >= len(asked) - 1
    references = pixels([png(case.style) for case in asked])
    taken, before = (style_similarity(judges, pixels(made), references).mean for made in (styled, plain))
    assert taken > before


def test_every_method_that_is_offered_runs_by_name_and_by_family(served, asked) -> None:
    offered = [one for one in served.client.get("/methods").json()["methods"] if one["available"]]
    assert {"ip-adapter", "instantstyle", "deadiff", "csgo", "style-aligned", "signal-leak", "style-id"} <= {
        one["name"] for one in offered
    }
    for one in offered:
        for name in (one["name"], *one["aliases"]):
            assert posted(served, asked[0], method=name, steps=6)["recipe"]["method"] == one["name"]


def test_the_same_seed_gives_the_same_bytes(served, asked) -> None:
    first, again = (drawn(served, asked[0], method="style-aligned", steps=8) for _ in range(2))
    assert first == again
