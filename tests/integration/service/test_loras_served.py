"""LoRAs and the operator's own models through the real service: gateway, worker, one model store."""

import json
from collections.abc import Iterator
from io import BytesIO
from typing import Any

import pytest
from PIL import Image

from model_store.add.add import add
from model_store.catalogue.entry import Licence
from tests.support.service import Service, quick, service, style_file
from tests.support.techniques import lora_files
from tests.support.tiny import models
from workers.engine.backbones.load import load
from workers.worker.encode import RECIPE_KEY

pytestmark = pytest.mark.xdist_group("service")
TERMS = Licence(name="CC-BY-NC-4.0", non_commercial=True)


@pytest.fixture(scope="module")
def stocked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service of a model that the operator added, with a LoRA."""
    store, made = tmp_path_factory.mktemp("store"), tmp_path_factory.mktemp("made")
    folder = models.build(made, "sd15")
    add(folder, "mine", store, licence=TERMS)
    source = lora_files.write("kohya", load(folder).pipe, made / "lora")
    add(source, "ink", store, base="sd15", licence=TERMS)
    with service(store, environ={"STYLIZE_MODELS": "mine"}) as running:
        yield running


def asked(**params: Any) -> dict[str, str]:
    return quick(params=json.dumps(params))


def picture(service: Service, job: dict[str, Any]) -> Image.Image:
    return Image.open(BytesIO(service.client.get(job["images"][0]["url"]).raise_for_status().content))


def test_a_lora_changes_the_picture_and_its_terms_are_in_it(stocked: Service) -> None:
    [mine] = stocked.client.get("/models").json()["models"]
    assert (mine["id"], mine["state"], mine["licence"]["name"]) == ("mine", "warm", "CC-BY-NC-4.0")
    plain = stocked.finished(stocked.submit(asked())["id"])
    inked = stocked.finished(stocked.submit(asked(loras=[{"id": "ink", "scale": 1.5}]))["id"])
    again = stocked.finished(stocked.submit(asked())["id"])
    assert {job["state"] for job in (plain, inked, again)} == {"succeeded"}
    assert picture(stocked, plain).tobytes() == picture(stocked, again).tobytes()
    assert picture(stocked, plain).tobytes() != picture(stocked, inked).tobytes()
    carried = json.loads(picture(stocked, inked).info[RECIPE_KEY])
    assert carried["params"]["loras"] == [{"id": "ink", "scale": 1.5}]
    assert [terms["id"] for terms in carried["licences"]] == ["mine", "ink", "signal-leak"]
    assert all(terms["non_commercial"] for terms in carried["licences"][:2])


def test_what_cannot_be_stacked_is_said(stocked: Service) -> None:
    gone = stocked.finished(stocked.submit(asked(loras=[{"id": "chalk"}]))["id"])
    assert (gone["state"], gone["error"]["code"]) == ("failed", "weights-missing")
    assert "installed for sd15: ink" in gone["error"]["detail"]
    refused = stocked.client.post("/stylize", data=asked(loras=[{"id": "ink", "scale": 3}]), files=style_file())
    assert refused.status_code == 422
    assert "#/params/loras/0/scale" in [fault["pointer"] for fault in refused.json()["errors"]]
