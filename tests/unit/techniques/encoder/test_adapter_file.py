"""Adapter files in both published layouts, and files that are none."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from tests.unit.techniques.encoder.samples import FILES, bench_on, nothing_installed
from workers.pipelines.backbone import Backbone
from workers.pipelines.errors import ModelUnusable, Refused, WeightsMissing
from workers.techniques.encoder import adapter_file
from workers.techniques.encoder.locate import adapter_in, locate


def test_both_layouts_are_read() -> None:
    base, plus = (adapter_file.read(FILES[name]) for name in ("ip-adapter-sd15", "ip-adapter-plus-sd15"))
    assert (base.kind, base.tokens, base.feature_width, base.token_width) == ("base", 4, 32, 32)
    assert (plus.kind, plus.tokens, plus.feature_width, plus.token_width) == ("plus", 16, 32, 32)
    assert len(base.ip_adapter) == len(plus.ip_adapter) == 32


def test_a_pickled_adapter_and_its_flat_copy_are_the_same(tmp_path: Path) -> None:
    pickled = adapter_file.read(FILES["ip-adapter-sd15"])
    flat = {f"{part}.{name}": t for part, tensors in pickled.state_dict().items() for name, t in tensors.items()}
    save_file(flat, tmp_path / "ip_adapter.safetensors")
    read = adapter_file.read(tmp_path / "ip_adapter.safetensors")
    assert read.ip_adapter.keys() == pickled.ip_adapter.keys()
    assert all(torch.equal(read.image_proj[name], t) for name, t in pickled.image_proj.items())


def test_files_that_are_no_adapter_are_named(tmp_path: Path) -> None:
    (tmp_path / "broken.safetensors").write_bytes(b"nothing")
    save_file({"other": torch.zeros(1)}, tmp_path / "other.safetensors")
    torch.save([1], tmp_path / "list.bin")
    for name in ("broken.safetensors", "other.safetensors", "list.bin", "absent.bin"):
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
def test_what_is_missing_is_named_with_the_command_that_fetches_it(backbone: Backbone, variant: str) -> None:
    with pytest.raises(WeightsMissing, match=f"stylize models pull ip-adapter-.*{backbone.base}"):
        locate(variant, bench_on(backbone, nothing_installed))  # type: ignore[arg-type]


def test_a_variant_that_was_never_published_is_refused(sd15: Backbone) -> None:
    with pytest.raises(Refused, match="no vit-h adapter for sd15"):
        locate("vit-h", bench_on(sd15, nothing_installed))
