"""Where an adapter, its image encoder and its CLIP model's text encoder are: with the base model, or in the store."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Literal

from model_store.catalogue.entry import Base
from model_store.load.pickles import PICKLED
from workers.engine.backbones.base import Backbone
from workers.engine.errors import Refused, WeightsMissing
from workers.engine.technique import PrepareContext
from workers.techniques.encoder.params import Variant

SECOND_TEXT_ENCODER: Literal["text_encoder_2"] = "text_encoder_2"


@dataclass(frozen=True)
class PublishedAdapter:
    """Catalogue ids of an adapter and what belongs to it.

    `clip` is the CLIP model its image encoder is of. `text` is the text encoder of the same model: a catalogue id, the
    base model's own second text encoder, or None where the adapter reads no embedding.
    """

    adapter: str
    image_encoder: str
    clip: str
    text: str | None


VIT_H, VIT_BIGG = "ViT-H/14", "ViT-bigG/14"
PUBLISHED: Mapping[tuple[Base, Variant], PublishedAdapter] = MappingProxyType(
    {
        ("sd15", "base"): PublishedAdapter("ip-adapter-sd15", "clip-vit-h", VIT_H, "clip-vit-h-text"),
        ("sd15", "light"): PublishedAdapter("ip-adapter-light-sd15", "clip-vit-h", VIT_H, "clip-vit-h-text"),
        ("sd15", "plus"): PublishedAdapter("ip-adapter-plus-sd15", "clip-vit-h", VIT_H, None),
        ("sdxl", "base"): PublishedAdapter("ip-adapter-sdxl", "clip-vit-bigg", VIT_BIGG, SECOND_TEXT_ENCODER),
        ("sdxl", "vit-h"): PublishedAdapter("ip-adapter-sdxl-vit-h", "clip-vit-h", VIT_H, "clip-vit-h-text"),
        ("sdxl", "plus"): PublishedAdapter("ip-adapter-plus-sdxl-vit-h", "clip-vit-h", VIT_H, None),
    }
)


@dataclass(frozen=True)
class AdapterFiles:
    """Files of an adapter. `published` is None for an adapter that came with the base model.

    `preprocessor` is a folder with the image encoder's own preprocessor_config.json; None means CLIP's.
    """

    adapter: Path
    image_encoder: Path
    published: PublishedAdapter | None
    preprocessor: Path | None = None


def adapter_files(variant: Variant, context: PrepareContext) -> AdapterFiles:
    """Return the files of an adapter: the base model's own if its folder has one, else those of the store.

    Raises WeightsMissing with the command that fetches them, and Refused when no such adapter is published.
    """
    own = adapter_files_beside(context.backbone, variant)
    if own is not None:
        return own
    published = PUBLISHED.get((context.backbone.base, variant))
    if published is None:
        raise Refused(f"there is no {variant} adapter for {context.backbone.base}; params.adapter base is always one")
    return AdapterFiles(
        adapter=adapter_in(installed_path(published.adapter, published.adapter, context)),
        image_encoder=installed_path(published.image_encoder, published.adapter, context),
        published=published,
    )


def adapter_files_beside(backbone: Backbone, variant: Variant) -> AdapterFiles | None:
    """Return an adapter in the base model's folder, or None.

    Its places there are `ip-adapter/*.safetensors`, `image_encoder/` and, if it has one, `feature_extractor/`.
    """
    folder = backbone.folder
    if folder is None or not (folder / "image_encoder" / "config.json").is_file():
        return None
    files = sorted((folder / "ip-adapter").glob("*.safetensors"))
    fitting = [file for file in files if _variant(file.stem) == variant]
    if not fitting:
        return None
    extractor = folder / "feature_extractor"
    return AdapterFiles(fitting[0], folder / "image_encoder", None, extractor if extractor.is_dir() else None)


def _variant(stem: str) -> Variant:
    """Return the variant that the projects' file names tell: `ip-adapter-plus_sdxl_vit-h` is plus, then vit-h."""
    variants: tuple[Variant, ...] = ("plus", "light", "vit-h")
    return next((variant for variant in variants if variant in stem.replace("_", "-")), "base")


def installed_path(model: str, pulled_by: str, context: PrepareContext) -> Path:
    """Return the folder or file of an installed model. Raises WeightsMissing with the command that fetches it."""
    try:
        return context.weights(model)
    except WeightsMissing as missing:
        raise WeightsMissing(f"{model} is not installed; run: stylize models pull {pulled_by}") from missing


def adapter_in(found: Path) -> Path:
    """Return the adapter file itself, given it or its folder in the store: a pickled one only when there is no other.

    Raises WeightsMissing when there is none.
    """
    if found.is_file():
        return found
    files = sorted(file for file in found.glob("*") if file.suffix in {".safetensors", *PICKLED})
    if not files:
        raise WeightsMissing(f"{found} holds no adapter file")
    return next((file for file in files if file.suffix == ".safetensors"), files[0])
