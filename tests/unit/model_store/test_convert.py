import hashlib
import subprocess
import sys
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from pickle import UnpicklingError
from types import ModuleType

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from model_store.catalogue import entries
from model_store.catalogue.entry import WantedFile
from model_store.convert import unpickle
from model_store.convert.keymap import keymap_of, keymaps
from model_store.errors import ConversionFailed
from model_store.fetch.hub import Hub
from model_store.fetch.progress import Silent
from model_store.fetch.pull import pull
from model_store.store.lockfile import read_lock
from model_store.store.presence import require_installed
from model_store.store.verify import verify
from tests.support.hub_server import HubState
from tests.unit.model_store.conftest import Register

PUBLISHED: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "plain": (("conv_in.weight", "a.b.c"), ()),
    "ip-adapter": (("image_proj.proj.weight", "ip_adapter.1.to_k_ip.weight"), ("other.x",)),
    "csgo": (
        (
            "content_image_proj.latents",
            "style_image_proj.layers.0.1.3.weight",
            "ip_adapter.1.to_v_ip.weight",
            "controlnet_adapter_modules.down_blocks.1.attentions.0.transformer_blocks.0.attn2.processor.to_k_ip.weight",
            "conv_in_unet_sd.weight",
        ),
        ("optimizer.step",),
    ),
    "deadiff": (
        (
            "model.diffusion_model.input_blocks.1.1.transformer_blocks.0.attn2.i_to_k.weight",
            "first_stage_model.encoder.conv_in.weight",
            "cond_stage_model.transformer.text_model.final_layer_norm.weight",
            "style_blip.query_tokens",
            "content_blip.Qformer.bert.encoder.layer.0.output_query.dense.weight",
            "style_blip.visual_encoder.ln_pre.weight",
            "content_proj_layer.dense1.weight",
        ),
        (
            "betas",
            "alphas_cumprod",
            "cond_stage_model.transformer.text_model.embeddings.position_ids",
            "style_blip.Qformer.cls.predictions.bias",
            "content_blip.itm_head.weight",
            "style_blip.temp",
            "style_blip.ctx_embeddings_cache",
            "content_blip.text_proj.bias",
        ),
    ),
    "csd": (
        ("module.backbone.conv1.weight", "module.last_layer_style", "module.last_layer_content"),
        ("module.last_layer_other", "epoch"),
    ),
    "ldm": (
        (
            "model.diffusion_model.out.2.bias",
            "first_stage_model.post_quant_conv.weight",
            "conditioner.embedders.1.model.text_projection",
        ),
        ("model_ema.decay", "betas", "cond_stage_model.transformer.text_model.embeddings.position_ids"),
    ),
}


@pytest.mark.parametrize("name", keymaps())
def test_every_key_map_can_be_undone_name_by_name(name: str) -> None:
    kept, dropped = PUBLISHED[name]
    rules = keymap_of(name)
    renamed = [rules.name_of(stored) for stored in kept]
    assert None not in renamed
    assert [rules.stored_name_of(new) for new in renamed if new is not None] == list(kept)
    assert [rules.name_of(stored) for stored in dropped] == [None] * len(dropped)


def test_every_key_map_the_catalogue_names_exists() -> None:
    used = {file.convert for entry in entries().values() for file in entry.files if file.convert}
    assert used <= set(keymaps())
    with pytest.raises(ConversionFailed, match="no key map named"):
        keymap_of("other")


@pytest.mark.parametrize("name", keymaps())
@pytest.mark.parametrize("legacy", [False, True])
def test_a_tiny_file_in_the_authors_layout_becomes_the_same_tensors(name: str, legacy: bool, tmp_path: Path) -> None:
    rules = keymap_of(name)
    kept, dropped = PUBLISHED[name]
    content: dict[str, object] = {}
    for place, stored in enumerate((*kept, *dropped)):
        tensor = torch.full((2, 3), float(place)).half()
        if name in ("ip-adapter", "csgo"):  # nested by the first part of the name, as the authors save them
            part, _, rest = stored.partition(".")
            content.setdefault(part, {})[rest] = tensor
        else:
            content[stored] = tensor
    whole = {rules.root: content, "epoch": 3} if rules.root else content
    torch.save(whole, tmp_path / "theirs.bin", _use_new_zipfile_serialization=not legacy)
    assert unpickle.convert(tmp_path / "theirs.bin", tmp_path / "ours.safetensors", name) == len(kept)
    ours = load_file(tmp_path / "ours.safetensors")
    back = {rules.stored_name_of(new): tensor for new, tensor in ours.items()}
    assert back.keys() == set(kept)
    assert all((back[stored] == place).all() and back[stored].dtype == torch.half for place, stored in enumerate(kept))


def test_tied_and_strided_tensors_are_written_whole(tmp_path: Path) -> None:
    big = torch.arange(12.0).reshape(3, 4)
    torch.save({"a": big, "tied": big, "turned": big.T, "slice": big[:, 1]}, tmp_path / "x.bin")
    unpickle.convert(tmp_path / "x.bin", tmp_path / "x.safetensors", "plain")
    found = load_file(tmp_path / "x.safetensors")
    assert torch.equal(found["tied"], big)
    assert torch.equal(found["turned"], big.T)
    assert torch.equal(found["slice"], big[:, 1])


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"count": 3}, "nothing in it fits"),
        ({"a": torch.eye(2).to_sparse()}, "not a plain dense tensor"),
        ({(1, 2): torch.zeros(1)}, "neither text nor number"),
        ({"a": {"b": torch.zeros(1)}, "a.b": torch.zeros(1)}, "means the same"),
    ],
)
def test_what_is_no_plain_state_dict_is_refused(content: object, words: str, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "x.bin")
    with pytest.raises(ConversionFailed, match=words):
        unpickle.convert(tmp_path / "x.bin", tmp_path / "x.safetensors", "plain")


class Reduced:
    """Is pickled as a call of a function of another module, with a state to set."""

    def __init__(self, function: object) -> None:
        self.function = function

    def __reduce__(self) -> tuple[object, ...]:
        return self.function, (np.float64(0.5).tobytes(), 3), {"step": 3}


def pretended(monkeypatch: pytest.MonkeyPatch, module: str, name: str) -> object:
    """Put a class into a module that need not exist; return it."""
    parts = module.split(".")
    for package in (".".join(parts[:length]) for length in range(1, len(parts) + 1)):
        monkeypatch.setitem(sys.modules, package, sys.modules.get(package) or ModuleType(package))
    made = type(name, (), {"__module__": module})
    monkeypatch.setattr(sys.modules[module], name, made, raising=False)
    return made


@pytest.mark.parametrize("legacy", [False, True])
def test_what_training_left_beside_the_weights_is_passed_over(
    legacy: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    callback = pretended(monkeypatch, "pytorch_lightning.callbacks.model_checkpoint", "ModelCheckpoint")
    older = pretended(monkeypatch, "numpy.core.multiarray", "scalar")
    whole = {
        "args": Namespace(lr=0.1, device=None, nested=[Namespace()]),
        "loss": np.float64(0.5),
        "best": Reduced(older),
        "callbacks": {callback: {"best": 1}},
        "model_state_dict": {"module.backbone.w": torch.ones(4)},
    }
    torch.save(whole, tmp_path / "x.pth", _use_new_zipfile_serialization=not legacy)
    assert unpickle.convert(tmp_path / "x.pth", tmp_path / "x.safetensors", "csd") == 1
    assert torch.equal(load_file(tmp_path / "x.safetensors")["backbone.w"], torch.ones(4))
    whole["unknown"] = Reduced(pretended(monkeypatch, "somewhere", "else_"))
    torch.save(whole, tmp_path / "x.pth", _use_new_zipfile_serialization=not legacy)
    with pytest.raises(UnpicklingError, match=r"somewhere\.else_"):
        unpickle.convert(tmp_path / "x.pth", tmp_path / "x.safetensors", "csd")


@pytest.fixture
def pickled(tmp_path: Path) -> Callable[[float], bytes]:
    def make(value: float) -> bytes:
        torch.save({"model_state_dict": {"module.backbone.w": torch.full((4,), value)}}, tmp_path / "x.pth")
        return (tmp_path / "x.pth").read_bytes()

    return make


def test_a_pickled_file_is_converted_pinned_and_gone(
    hub: HubState, store: Path, register: Register, pickled: Callable[[float], bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    register("csd-like", WantedFile(path="*.pth", save_as="csd.safetensors", convert="csd"))
    whole = pickled(1.0)
    hub.files = {("them/csd-like", "checkpoint.pth"): whole}
    source = Hub(endpoint=hub.url, timeout_seconds=60)
    with monkeypatch.context() as cut, pytest.raises(OSError, match="cut"):
        cut.setattr(subprocess, "run", _cut)  # the converting process cannot be started this time
        pull(["csd-like"], store, source, watcher=Silent())
    assert list((store / "models").rglob("*")) == []
    pull(["csd-like"], store, source, watcher=Silent())
    assert sum(method == "GET" for method, _, _ in hub.asked) == 1, "what arrived before is not fetched again"
    folder = require_installed("csd-like", store)
    assert torch.equal(load_file(folder / "csd.safetensors")["backbone.w"], torch.ones(4))
    pinned = read_lock(store).models["csd-like"].files["csd.safetensors"]
    assert pinned.source_sha256 == hashlib.sha256(whole).hexdigest()
    assert [finding.fault for finding in verify("csd-like", store)] == [None]
    assert [file for file in (store / "incoming").rglob("*") if file.is_file()] == []


def _cut(*arguments: object, **more: object) -> None:
    raise OSError("cut")
