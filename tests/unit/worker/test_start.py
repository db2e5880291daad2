"""A worker that lacks a model says what fetches it and ends with 2; one of the operator's own it knows by the store."""

import logging
import subprocess
import sys
from pathlib import Path

import pytest

from model_store.add.add import add
from model_store.errors import UnknownModel
from tests.support.service import PATIENCE
from workers.engine import device
from workers.engine.backbones.pool import BackboneCache
from workers.engine.cache.style_cache import StyleCache
from workers.engine.cache.tiers import MemoryTier
from workers.engine.engine import DiffusionEngine
from workers.engine.errors import DeviceLost, ModelUnusable, WeightsMissing
from workers.settings import WorkerSettings
from workers.techniques import registry
from workers.worker.base_models import BaseModelLoader
from workers.worker.warmup import rehearse

UNET = "models/mine/unet/diffusion_pytorch_model.safetensors"


def started(models: str, store: Path) -> subprocess.CompletedProcess[str]:
    environ = {"PATH": "/usr/bin:/bin", "STYLIZE_MODELS": models, "STYLIZE_MODEL_DIR": str(store)}
    environ |= {"STYLIZE_REDIS_URL": f"unix://{store}/none", "STYLIZE_BLOB_URL": f"file:{store / 'blobs'}"}
    command = [sys.executable, "-m", "workers"]
    return subprocess.run(command, env=environ, capture_output=True, text=True, timeout=PATIENCE, check=False)


@pytest.mark.parametrize(
    ("models", "words"),
    [
        ("sdxl", "stylize models pull sdxl"),
        ("unheard-of", "stylize models list"),
        ("", "STYLIZE_MODELS names no base model"),
    ],
)
def test_a_worker_without_its_model_says_the_command_and_ends_with_2(models: str, words: str, tmp_path: Path) -> None:
    done = started(models, tmp_path)
    assert done.returncode == 2, done.stderr
    assert words in done.stderr.strip().splitlines()[-1]
    assert "Traceback" not in done.stderr


def nothing_installed(model: str) -> Path:
    raise WeightsMissing(f"{model} is not installed")


def engine_of(store: Path) -> DiffusionEngine:
    settings = WorkerSettings(models=("mine",), model_dir=store)
    return DiffusionEngine(
        pool=BackboneCache(BaseModelLoader(settings, store).load),
        cache=StyleCache([MemoryTier("host", 1 << 26)]),
        technique=registry.technique,
        weights=nothing_installed,
    )


def test_a_model_of_the_operator_is_loaded_and_rehearsed(tiny_root: Path, tmp_path: Path) -> None:
    add(tiny_root / "sd15", "mine", tmp_path)
    able = rehearse(engine_of(tmp_path), "mine", tmp_path)
    assert able["signal-leak"] == able["style-id"] == ""
    assert "not installed" in able["ip-adapter"]
    with pytest.raises(UnknownModel):
        rehearse(engine_of(tmp_path), "yours", tmp_path)


def test_the_log_names_device_and_type_of_a_loaded_model(
    tiny_root: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    add(tiny_root / "sd15", "mine", tmp_path)
    settings = WorkerSettings(models=("mine",), model_dir=tmp_path, worker_device="cpu")
    with caplog.at_level(logging.INFO, "workers.worker.base_models"):
        BaseModelLoader(settings, tmp_path).load("mine")
    assert [record.getMessage() for record in caplog.records] == ["mine is loaded in float32 on the CPU"]


def test_a_file_that_changed_after_it_was_added_is_named_with_its_key(tiny_root: Path, tmp_path: Path) -> None:
    add(tiny_root / "sd15", "mine", tmp_path)
    (tmp_path / UNET).write_bytes((tmp_path / UNET).read_bytes().replace(b'"conv_in.bias"', b'"conv_in.hias"'))
    with pytest.raises(ModelUnusable, match=r"diffusion_pytorch_model\.safetensors: conv_in\.hias"):
        engine_of(tmp_path).pool.get("mine")


def test_a_lost_device_is_no_fault_of_the_model(
    tiny_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where CUDA has failed for good, the next process finds out what the model can do."""
    add(tiny_root / "sd15", "mine", tmp_path)
    engine = engine_of(tmp_path)

    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    monkeypatch.setattr(engine, "stylize", fail)
    assert "it failed" in rehearse(engine, "mine", tmp_path)["signal-leak"]
    monkeypatch.setattr(device, "works", lambda: False)
    with pytest.raises(DeviceLost):
        rehearse(engine, "mine", tmp_path)
