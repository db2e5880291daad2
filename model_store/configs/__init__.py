"""The published configurations of the base models' components, as data: their real shapes without their weights."""

from importlib import resources
from pathlib import Path

from model_store.catalogue.entry import Base


def config_folder(base: Base) -> Path:
    """Return the folder with one sub-folder per component, each with its config.json; no weights, no tokenizer."""
    return Path(str(resources.files("model_store.configs") / base))
