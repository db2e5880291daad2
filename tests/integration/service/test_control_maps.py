"""Maps made of photographs through the real service: published with the job's pictures, deleted with them."""

import hashlib
import json
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pytest
import torch
from diffusers import ControlNetModel
from PIL import Image

from model_store.add.add import add
from model_store.catalogue import folder_of
from model_store.catalogue.entry import Licence
from model_store.store.files import sha256_of
from model_store.store.lockfile import PinnedFile, PinnedModel, pin
from tests.support.service import Service, quick, service, style_file
from tests.support.tiny import models
from workers.contract.blobs import open_blobs
from workers.contract.blobs.names import control_map_name, job_prefix
from workers.contract.jobs.store import JobStore
from workers.contract.runtime.redis import connect
from workers.contract.runtime.settings import Settings
from workers.engine.backbones.load import load
from workers.engine.backbones.stable_diffusion import StableDiffusion
from workers.techniques.control_maps import canny

pytestmark = pytest.mark.xdist_group("service")
CONTROLNET = "controlnet-canny-sd15"
SIDE = 128


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service of a small random base model and a ControlNet for it."""
    store = tmp_path_factory.mktemp("store")
    folder = models.build(tmp_path_factory.mktemp("made"), "sd15")
    add(folder, "mine", store, licence=Licence(name="Apache-2.0"))
    install_controlnet(load(folder), store)
    with service(store, environ={"STYLIZE_MODELS": "mine"}) as started:
        yield started


def install_controlnet(backbone: StableDiffusion, store: Path) -> None:
    """Write a ControlNet into the store and pin it, as after a pull."""
    torch.manual_seed(0)
    net = ControlNetModel.from_unet(backbone.denoiser, conditioning_embedding_out_channels=(8, 16, 32, 32))
    folder = folder_of(CONTROLNET, store)
    net.save_pretrained(folder)
    files = {path.name: PinnedFile(size=path.stat().st_size, sha256=sha256_of(path)) for path in folder.iterdir()}
    pin(store, CONTROLNET, PinnedModel(revision="", files=files))


@pytest.fixture(scope="module")
def jobs(running: Service) -> JobStore:
    return JobStore(connect(running.redis.url), allow_volatile=True)


def photograph() -> bytes:
    rows, columns = np.mgrid[0:150, 0:200]
    discs = ((rows - 70) ** 2 + (columns - 90) ** 2 < 45**2) * 160
    picture = Image.fromarray(np.stack([rows, columns, discs], axis=2).clip(0, 255).astype(np.uint8))
    file = BytesIO()
    picture.save(file, "PNG")
    return file.getvalue()


def submitted(service: Service, control_image: bytes, **params: Any) -> dict[str, Any]:
    """Return the job of a picture that follows a control image, once it is final."""
    fields = quick(method="style-aligned", width=SIDE, height=SIDE, params=json.dumps(params))
    files = style_file() | {"control_image": ("control.png", control_image, "image/png")}
    answer = service.client.post("/stylize", data=fields, files=files)
    assert answer.status_code == httpx2.codes.ACCEPTED, answer.text
    return service.finished(answer.json()["id"])


def pixels(service: Service, job: dict[str, Any]) -> bytes:
    assert job["state"] == "succeeded", job["error"]
    return Image.open(BytesIO(service.client.get(job["images"][0]["url"]).raise_for_status().content)).tobytes()


def test_a_made_map_lies_with_the_pictures_and_goes_with_them(running: Service, jobs: JobStore) -> None:
    blobs = open_blobs(Settings(blob_url=running.environ["STYLIZE_BLOB_URL"]))
    done = submitted(running, photograph(), control_source="canny")
    record = jobs.get(done["id"])
    assert record is not None
    assert record.result is not None
    shown = record.result.control_map
    assert shown is not None
    assert shown.blob == control_map_name(record.id, record.token)
    file = blobs.get(shown.blob)
    assert hashlib.sha256(file).hexdigest() == shown.sha256
    assert running.client.get(done["control_map"]["url"]).content == file
    made = Image.open(BytesIO(file))
    assert (made.format, made.mode, made.size) == ("PNG", "RGB", (shown.width, shown.height))
    squashed = Image.open(BytesIO(photograph())).resize((SIDE, SIDE), Image.Resampling.LANCZOS)
    assert made.tobytes() == canny(squashed, 100, 200).tobytes()

    posted = submitted(running, file, control="canny")
    assert pixels(running, posted) == pixels(running, done)
    assert posted["control_map"] is None

    assert running.client.delete(f"/jobs/{record.id}").is_success
    assert [stored.name for stored in blobs.list(job_prefix(record.id))] == []
    assert running.client.get(done["control_map"]["url"]).status_code == httpx2.codes.NOT_FOUND


def test_a_depth_model_that_is_not_installed_is_refused_with_the_command_that_fetches_it(running: Service) -> None:
    failed = submitted(running, photograph(), control_source="depth")
    assert (failed["state"], failed["error"]["code"]) == ("failed", "weights-missing")
    assert "stylize models pull depth-anything-v2-small" in failed["error"]["detail"]
