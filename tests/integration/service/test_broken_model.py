"""One broken model stops nobody: it is told, the others are served (O01)."""

from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
from safetensors.torch import load_file, save_file

from model_store.add.add import add
from tests.support.models import tiny_root
from tests.support.service import Service, quick, service, until

__all__ = ["tiny_root"]


@pytest.fixture(scope="module")
def running(tiny_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    store = tmp_path_factory.mktemp("models")
    for model in ("vae-inf", "missing", "good"):
        add(tiny_root / "sd15", model, store)
    file = store / "models" / "vae-inf" / "vae" / "diffusion_pytorch_model.safetensors"
    tensors = load_file(file)
    tensors["decoder.conv_out.weight"].fill_(float("inf"))
    save_file(tensors, file, {"format": "pt"})
    (store / "models" / "missing" / "unet" / "diffusion_pytorch_model.safetensors").unlink()
    with service(store, environ={"STYLIZE_MODELS": "vae-inf,missing,good"}) as started:
        yield started


def test_the_others_are_served_and_the_broken_told(running: Service) -> None:
    job = running.submit(quick(model="good"))
    assert running.finished(job["id"])["state"] == "succeeded"
    models = {one["id"]: one for one in running.client.get("/models").raise_for_status().json()["models"]}
    assert {name: one["state"] for name, one in models.items()} == {
        "vae-inf": "broken", "missing": "broken", "good": "warm"
    }  # fmt: skip
    assert "finite" in models["vae-inf"]["reason"]
    assert "missing" in models["missing"]["reason"]
    assert "broken: " in running.client.get("/readyz").json()["models"]["vae-inf"]
    methods = {one["name"]: one for one in running.client.get("/methods").json()["methods"]}
    assert methods["signal-leak"]["available"] == ["good"]


def test_a_job_for_a_broken_model_waits_and_the_worker_stays(running: Service) -> None:
    waiting = running.submit(quick(model="vae-inf"))
    pid = running.workers[0].process.pid  # type: ignore[union-attr]
    for _ in range(2):
        assert running.finished(running.submit(quick(model="good"))["id"])["state"] == "succeeded"
    assert running.job(waiting["id"])["state"] == "queued"
    assert running.workers[0].process.pid == pid  # type: ignore[union-attr]
    assert running.client.delete(f"/jobs/{waiting['id']}").status_code == httpx2.codes.OK
    until(lambda: running.job(waiting["id"])["state"] == "canceled", "the job is canceled")
