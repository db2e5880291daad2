"""A model store with the tiny FLUX models and what goes with them, under the names that the methods look for."""

import shutil
from pathlib import Path

from model_store.catalogue import folder_of
from model_store.store.files import sha256_of
from model_store.store.lockfile import PinnedFile, PinnedModel, pin
from tests.support.tiny.models import add_to, build

BASES = ("flux", "flux-schnell", "flux-fill", "flux-control", "flux2-klein")
ADAPTERS = {"flux1-redux": "flux-redux", "flux1-canny-lora": "flux-control-lora"}


def install_flux_models(store: Path, made: Path) -> Path:
    """Install the base models as `tiny-NAME`, Redux and the Canny LoRA; the Depth LoRA and depth models are missing."""
    for name in BASES:
        add_to(store, name)
    for model, name in ADAPTERS.items():
        install(store, model, build(made, name))
    return store


def install(store: Path, model: str, source: Path) -> None:
    """Put files into a store as those of a model of the catalogue, pinned as they are."""
    folder = Path(shutil.copytree(source, folder_of(model, store)))
    files = {
        path.relative_to(folder).as_posix(): PinnedFile(size=path.stat().st_size, sha256=sha256_of(path))
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.name.startswith(".")
    }
    pin(store, model, PinnedModel(revision="tiny", files=files))
