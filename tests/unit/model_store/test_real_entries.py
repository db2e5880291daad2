"""The catalogue's own entries, pulled from a mirror that holds tiny files under the published names, then loaded."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from rich.console import Console
from safetensors.torch import load_file, save_file
from transformers import CLIPTokenizer

from model_store.catalogue import base_of, entry_of, folder_of
from model_store.catalogue.entry import Base
from model_store.fetch.folder import Folder
from model_store.fetch.progress import Bars, Silent
from model_store.fetch.pull import pull
from model_store.load.base import PARTS, load_base
from model_store.load.tensors import load_tensors
from model_store.store.presence import require_installed
from model_store.store.verify import verify
from tests.support import layouts

Tiny = Callable[[str], Path]


def published(base: Base, tiny: Path, mirror: Path) -> None:
    """Lay out a tiny model under the names, and with the old tokenizer files, of the base model's repository."""
    entry = entry_of(base)
    repository = mirror / str(entry.repository)
    for file in entry.files:
        target, source = repository / file.path, tiny / file.target
        target.parent.mkdir(parents=True, exist_ok=True)
        if file.target.endswith(".safetensors"):
            tensors = {name: tensor.half() for name, tensor in load_file(source).items()}
            if file.target.startswith("text_encoder/"):
                tensors = {f"text_model.{name.removeprefix('text_model.')}": value for name, value in tensors.items()}
            save_file(tensors, target, {"format": "pt"})
        elif source.exists():
            shutil.copyfile(source, target)
    for folder in ("tokenizer", "tokenizer_2"):
        if (tiny / folder).is_dir():
            vocabulary = json.loads((tiny / folder / "tokenizer.json").read_text())["model"]["vocab"]
            (repository / folder / "vocab.json").write_text(json.dumps(vocabulary))
            (repository / folder / "merges.txt").write_text("#version: 0.2\n")
            (repository / folder / "special_tokens_map.json").write_text("{}")


@pytest.mark.parametrize("base", ["sd15", "sdxl"])
def test_a_base_model_is_pulled_and_loaded_as_its_entry_says(
    base: Base, tiny: Tiny, store: Path, tmp_path: Path
) -> None:
    published(base, tiny(base), tmp_path / "mirror")
    pull([base], store, Folder(tmp_path / "mirror"), watcher=Silent())
    assert [finding.fault for finding in verify(base, store)] == [None] * len(entry_of(base).files)
    parts = load_base(require_installed(base, store), base, dtype=torch.float32)
    assert parts.keys() >= PARTS[base].keys()
    theirs = CLIPTokenizer.from_pretrained(tiny(base) / "tokenizer", local_files_only=True)
    assert parts["tokenizer"]("a red fox").input_ids == theirs("a red fox").input_ids
    assert parts["text_encoder"].dtype == torch.float32


@pytest.mark.parametrize(
    ("model", "like"), [("flux1-dev", "flux"), ("flux1-fill", "flux-fill"), ("flux2-klein-4b", "flux2-klein")]
)
def test_a_flux_model_is_pulled_without_the_file_that_has_its_transformer_again(
    model: str, like: str, tiny: Tiny, store: Path, tmp_path: Path
) -> None:
    repository = tmp_path / "mirror" / str(entry_of(model).repository)
    shutil.copytree(tiny(like), repository)
    (repository / f"{model}.safetensors").write_bytes(b"the transformer again")
    pull([model], store, Folder(tmp_path / "mirror"), watcher=Silent())
    folder = require_installed(model, store)
    assert not (folder / f"{model}.safetensors").exists()
    assert load_base(folder, base_of(model)).keys() >= PARTS[base_of(model)].keys()


def test_an_adapter_and_its_encoder_come_together(tiny: Tiny, store: Path, tmp_path: Path) -> None:
    unet = load_base(tiny("sd15"), "sd15")["unet"]
    repository = tmp_path / "mirror" / "h94" / "IP-Adapter" / "models"
    (repository / "image_encoder").mkdir(parents=True)
    for name in ("config.json", "model.safetensors"):
        shutil.copyfile(tiny("clip-vision") / name, repository / "image_encoder" / name)
    save_file(layouts.flattened(layouts.ip_adapter(unet)), repository / "ip-adapter_sd15.safetensors")
    pull(["ip-adapter-sd15"], store, Folder(tmp_path / "mirror"), watcher=Silent())
    assert (folder_of("clip-vit-h", store) / "model.safetensors").is_file()
    loaded = layouts.nested(load_tensors(require_installed("ip-adapter-sd15", store) / "ip_adapter.safetensors"))
    assert loaded["image_proj"]["proj.weight"].shape == (4 * 32, 32)


def test_bars_show_rate_and_remaining_time() -> None:
    console = Console(force_terminal=True, width=120, record=True)
    with Bars(console) as bars:
        bars.begin("thing/weights.safetensors", 2_000_000, 500_000)
        bars.reached("thing/weights.safetensors", 1_000_000)
    shown = console.export_text()
    assert "thing/weights.safetensors" in shown
    assert "1.0/2.0 MB" in shown
    plain = Console(force_terminal=False, width=120, record=True)
    with Bars(plain) as bars:
        bars.begin("thing/weights.safetensors", 2_000_000, 500_000)
    assert plain.export_text() == "thing/weights.safetensors  2.0 MB, resumed at 0.5\n"
