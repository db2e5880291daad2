"""Several base models on one device: what they share is one copy, and what does not fit is refused in words."""

import gc
from pathlib import Path
from weakref import WeakSet

import pytest
import torch

from model_store.add.add import add
from model_store.catalogue import folder_of
from workers.contract.errors import Misconfigured
from workers.engine.backbones.base import Backbone
from workers.engine.backbones.load import load
from workers.engine.backbones.pool import BackboneCache
from workers.engine.errors import OutOfMemory
from workers.engine.residency.placement import HOST, PartPlacement
from workers.engine.residency.plan import PlannedPart, lacking, part_keys
from workers.engine.residency.shared_parts import SharedParts
from workers.settings import WorkerSettings
from workers.worker.base_models import BaseModelLoader

PARTS = ("text_encoder", "text_encoder_2", "vae")
SIZE: dict[str, int] = {"width": 64, "height": 64}


@pytest.fixture
def store(tiny_root: Path, tmp_path: Path) -> Path:
    for model in ("flux", "flux-fill"):
        add(tiny_root / model, model, tmp_path)
    link_parts(*(folder_of(model, tmp_path) for model in ("flux", "flux-fill")))
    return tmp_path


def link_parts(one: Path, other: Path) -> None:
    """Give the weights of the parts that two models share one file on the disk, as a pull does."""
    for part in PARTS:
        for weights in (one / part).glob("*.safetensors"):
            (other / part / weights.name).unlink()
            (other / part / weights.name).hardlink_to(weights)


def test_parts_with_equal_files_are_loaded_once_and_planned_once(store: Path) -> None:
    loader = BaseModelLoader(WorkerSettings(models=("flux", "flux-fill"), model_dir=store, worker_device="cpu"), store)
    dev, fill = (loader.load(model) for model in ("flux", "flux-fill"))
    assert all(dev.components[part] is fill.components[part] for part in PARTS)
    assert dev.components["transformer"] is not fill.components["transformer"]
    assert dev.lock is fill.lock
    assert loader.lacking("flux-fill") == ""


def test_shared_parts_go_with_the_last_model_that_has_them(store: Path) -> None:
    shared = SharedParts()
    keys = part_keys(folder_of("flux", store), "flux", PartPlacement(HOST, torch.float32))
    dev, fill = (load(folder_of(model, store), shared=shared) for model in ("flux", "flux-fill"))
    del dev
    gc.collect()
    assert set(shared.loaded(keys)) == set(PARTS)
    del fill
    gc.collect()
    assert shared.loaded(keys) == {}


def test_a_part_whose_file_was_changed_since_is_another_part(store: Path) -> None:
    shared = SharedParts()
    changed = folder_of("flux-fill", store) / "vae" / "diffusion_pytorch_model.safetensors"
    data = changed.read_bytes()
    changed.unlink()
    changed.write_bytes(data)
    dev, fill = (load(folder_of(model, store), shared=shared) for model in ("flux", "flux-fill"))
    assert dev.components["vae"] is not fill.components["vae"]
    assert dev.components["text_encoder"] is fill.components["text_encoder"]


def test_text_encoded_on_the_host_is_the_same(tiny_root: Path) -> None:
    here, there = (load(tiny_root / "flux", encoders_on_host=host) for host in (False, True))
    assert there.encoder_device == HOST
    conditions = [model.condition(["a house"], None, guided=False, **SIZE)[0] for model in (here, there)]
    assert torch.equal(conditions[0].text, conditions[1].text)


def test_what_cannot_fit_is_said_before_memory_is_taken() -> None:
    huge = PlannedPart("transformer", 10**15, HOST), PlannedPart("vae", 10**9, HOST)
    told = lacking(huge, "flux1-fill", 0.05)
    assert told.startswith("flux1-fill needs 1000001.0 GB on cpu (transformer 1000000.0, vae 1.0), ")
    assert told.endswith(" GB are free")
    assert lacking([PlannedPart("vae", 1, HOST)], "flux1-fill", 0.05) == ""


def test_models_unused_longest_make_room_and_what_nothing_makes_room_for_is_refused(tiny_root: Path) -> None:
    loaded: list[str] = []
    alive: WeakSet[Backbone] = WeakSet()

    def fetch(model: str) -> Backbone:
        loaded.append(model)
        alive.add(backbone := load(tiny_root / "flux"))
        return backbone

    def short(model: str) -> str:
        return f"{model} needs more" if model == "giant" or len(alive) >= 2 else ""

    pool = BackboneCache(fetch, capacity=9, lacking=short)
    for model in ("a", "b", "a", "c"):
        pool.get(model)
    assert pool.warm() == ("a", "c")
    with pytest.raises(OutOfMemory, match="giant needs more"):
        pool.get("giant")
    assert (pool.warm(), len(alive)) == ((), 0)
    assert loaded == ["a", "b", "c"]


def test_others_are_released_one_by_one_where_that_is_enough(tiny_root: Path) -> None:
    backbone = load(tiny_root / "flux")
    pool = BackboneCache(lambda model: backbone, capacity=3)
    for model in ("a", "b", "c"):
        pool.get(model)
    assert backbone.weight_bytes > 1000
    assert not pool.release_other("b", lacking=10**15)
    assert pool.warm() == ("a", "b", "c")
    assert [pool.release_other("b", lacking=1) for _ in range(3)] == [True, True, False]
    assert pool.warm() == ("b",)


def test_what_is_kept_beside_a_model_is_refused_before_it_is_read(tiny_root: Path) -> None:
    backbone, built = load(tiny_root / "flux"), []
    with pytest.raises(OutOfMemory, match=r"control-lora x needs about 931322\.6 GiB, .* fewer models beside it"):
        backbone.get_or_load("control-lora x", lambda: built.append(1), size=lambda: 10**15)
    assert built == []
    assert backbone.get_or_load("small", lambda: 1, size=lambda: 1) == 1


def test_a_setting_that_needs_a_package_names_both(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workers.engine.residency.weight_storage.find_spec", lambda name: None)
    settings = WorkerSettings(models=("flux",), worker_transformer_weights="torchao-int8")
    with pytest.raises(Misconfigured, match=r"STYLIZE_WORKER_TRANSFORMER_WEIGHTS is torchao-int8, .*run: pip"):
        BaseModelLoader(settings, tmp_path)
    monkeypatch.setenv("STYLIZE_WORKER_TRANSFORMER_WEIGHTS", "int3")
    with pytest.raises(Misconfigured, match="STYLIZE_WORKER_TRANSFORMER_WEIGHTS: "):
        WorkerSettings.read()
