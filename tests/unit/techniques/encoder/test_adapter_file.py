"""Adapter files in both published layouts, and files that are none."""

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from tests.support.techniques.encoder_samples import PUBLISHED, adapter_of, bench_on, nothing_installed
from workers.engine.backbones import csd
from workers.engine.backbones.stable_diffusion import StableDiffusion
from workers.engine.errors import ModelUnusable, Refused, WeightsMissing
from workers.techniques.encoder import adapter_file
from workers.techniques.encoder.csgo import checkpoint as csgo
from workers.techniques.encoder.weights import adapter_files, adapter_in


def test_both_layouts_are_read() -> None:
    base, plus = (adapter_file.read(adapter_of(name)) for name in ("ip-adapter-sd15", "ip-adapter-plus-sd15"))
    assert (base.kind, base.tokens, base.feature_width, base.token_width) == ("base", 4, 32, 32)
    assert (plus.kind, plus.tokens, plus.feature_width, plus.token_width) == ("plus", 16, 32, 32)
    assert len(base.ip_adapter) == len(plus.ip_adapter) == 32


def test_a_converted_adapter_holds_what_the_authors_pickled() -> None:
    theirs = torch.load(PUBLISHED["ip-adapter-sd15"], weights_only=True)
    ours = adapter_file.read(adapter_of("ip-adapter-sd15")).state_dict()
    assert ours.keys() == theirs.keys()
    for part, tensors in theirs.items():
        assert ours[part].keys() == tensors.keys()
        assert all(torch.equal(ours[part][name], tensor) for name, tensor in tensors.items())


@pytest.mark.parametrize(
    ("read", "keymap"), [(adapter_file.read, "ip-adapter"), (csgo.read, "csgo"), (csd.load, "csd")]
)
@pytest.mark.parametrize("suffix", ["bin", "ckpt", "pth", "pt"])
def test_a_pickled_file_is_refused_with_the_command_that_converts_it(
    read: Callable[[Path], Any], keymap: str, suffix: str, tmp_path: Path
) -> None:
    shutil.copyfile(PUBLISHED["ip-adapter-sd15"], tmp_path / f"theirs.{suffix}")
    command = f"stylize models convert {tmp_path}/theirs.{suffix} {tmp_path}/theirs.safetensors --keymap {keymap}"
    with pytest.raises(ModelUnusable, match=f"only safetensors are loaded; run: {re.escape(command)}"):
        read(tmp_path / f"theirs.{suffix}")


def test_files_that_are_no_adapter_are_named(tmp_path: Path) -> None:
    (tmp_path / "broken.safetensors").write_bytes(b"nothing")
    save_file({"other": torch.zeros(1)}, tmp_path / "other.safetensors")
    for name in ("broken.safetensors", "other.safetensors", "absent.safetensors"):
        with pytest.raises(ModelUnusable, match=name.split(".")[0]):
            adapter_file.read(tmp_path / name)


def test_a_face_adapter_is_not_mistaken_for_another(tmp_path: Path) -> None:
    tensors = {"image_proj.proj.0.weight": torch.zeros(1), "ip_adapter.1.to_k_ip.weight": torch.zeros(1)}
    save_file(tensors, tmp_path / "face.safetensors")
    with pytest.raises(ModelUnusable, match="neither a base nor a plus"):
        _ = adapter_file.read(tmp_path / "face.safetensors").kind


def test_a_store_folder_gives_its_safetensors_file_first(tmp_path: Path) -> None:
    with pytest.raises(WeightsMissing, match="no adapter file"):
        adapter_in(tmp_path)
    (tmp_path / "a.bin").touch()
    assert adapter_in(tmp_path).name == "a.bin"
    (tmp_path / "b.safetensors").touch()
    assert adapter_in(tmp_path).name == "b.safetensors"
    assert adapter_in(tmp_path / "a.bin").name == "a.bin"


@pytest.mark.parametrize("variant", ["base", "plus"])
def test_what_is_missing_is_named_with_the_command_that_fetches_it(backbone: StableDiffusion, variant: str) -> None:
    with pytest.raises(WeightsMissing, match=f"stylize models pull ip-adapter-.*{backbone.base}"):
        adapter_files(variant, bench_on(backbone, nothing_installed))  # type: ignore[arg-type]


def test_a_variant_that_was_never_published_is_refused(sd15: StableDiffusion) -> None:
    with pytest.raises(Refused, match="no vit-h adapter for sd15"):
        adapter_files("vit-h", bench_on(sd15, nothing_installed))
