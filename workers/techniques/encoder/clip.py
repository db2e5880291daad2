"""The two encoders of a CLIP model as adapters use them: images to features, a text to its embedding."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from PIL import Image
from torch import Tensor
from transformers import (
    CLIPImageProcessorPil,
    CLIPTextConfig,
    CLIPTextModelWithProjection,
    CLIPTokenizer,
    CLIPVisionModelWithProjection,
)

from model_store.errors import ModelStoreError
from model_store.load.component import load_component
from workers.engine.backbones.base import Backbone
from workers.engine.errors import ModelUnusable
from workers.techniques.encoder.adapter_file import Kind
from workers.techniques.encoder.weights import AdapterFiles

Fit = Literal["crop", "squash"]
PICTURE_PARTS = (r"^vision_model\.", r"^visual_projection\.", r"^logit_scale$")
TEXT_PARTS = (r"^text_model\.", r"^text_projection\.", r"^logit_scale$")
"""What a whole CLIP model's file holds for its other encoder."""


class ClipImageEncoder:
    """An image encoder on the device of the base model, with the projects' own preprocessing (PIL, not torchvision)."""

    def __init__(self, model: CLIPVisionModelWithProjection, preprocessor: Path | None = None) -> None:
        """`preprocessor` is a folder with a preprocessor_config.json; None means CLIP's mean and deviation."""
        self._model = model
        self._preprocessor = preprocessor

    def pixels(self, images: Sequence[Image.Image], fit: Fit = "crop") -> Tensor:
        """Return normalised pixel values (n, 3, S, S), float32 on the CPU.

        `crop`: the shorter side is scaled to S (bicubic), then the middle square is cut out. `squash`: both sides are.
        """
        side: Any = self._model.config.image_size
        square = {"height": side, "width": side}
        size = {"shortest_edge": side} if fit == "crop" else square
        processor = self._processor(size=size, crop_size=square)
        return torch.as_tensor(processor(images=list(images), return_tensors="pt").pixel_values)

    def _processor(self, **sizes: Any) -> Any:
        if self._preprocessor is None:
            return CLIPImageProcessorPil(**sizes)
        return CLIPImageProcessorPil.from_pretrained(self._preprocessor, local_files_only=True, **sizes)

    @torch.no_grad()
    def features(self, pixels: Tensor, kind: Kind) -> Tensor:
        """Return what an adapter of that kind reads of pixel values (n, 3, S, S), float32.

        base: the projected embedding (n, D), not normalised. plus: all tokens before the last layer (n, L, H), without
        the final layer norm.
        """
        placed = pixels.to(self._model.device, self._model.dtype)
        if kind == "base":
            return self._model(placed).image_embeds.float()
        return self._model(placed, output_hidden_states=True).hidden_states[-2].float()

    def zero_pixels(self) -> Tensor:
        """Return the patch features (1, L, H) of a picture that is zero after normalisation: the mean colour."""
        side: Any = self._model.config.image_size
        return self.features(torch.zeros(1, 3, side, side), "plus")


def get_image_encoder(files: AdapterFiles, backbone: Backbone) -> ClipImageEncoder:
    """Return an adapter's image encoder, resident beside the base model. Raises ModelUnusable when it is broken."""

    def build() -> ClipImageEncoder:
        model = _load(CLIPVisionModelWithProjection, files.image_encoder, backbone, skip=TEXT_PARTS)
        return ClipImageEncoder(model, files.preprocessor)

    encoder: ClipImageEncoder = backbone.get_or_load(f"image-encoder {files.image_encoder} {files.preprocessor}", build)
    return encoder


class ClipTextEncoder:
    """A text encoder with its projection."""

    def __init__(self, model: CLIPTextModelWithProjection, tokenizer: CLIPTokenizer) -> None:
        self._model = model
        self._tokenizer = tokenizer

    @torch.no_grad()
    def embedding(self, text: str) -> Tensor:
        """Return the projected embedding t (1, D) of a text, float32, not normalised."""
        tokens = self._tokenizer(
            [text],
            padding="max_length",
            max_length=self._model.config.max_position_embeddings,
            truncation=True,
            return_tensors="pt",
        )
        return self._model(tokens.input_ids.to(self._model.device)).text_embeds.float()


def text_config(folder: Path) -> CLIPTextConfig:
    """Return the configuration of the text encoder in a folder, which may hold a whole CLIP model.

    A whole model says the width of its embeddings once for both encoders. Raises ModelUnusable when there is none.
    """
    try:
        stated = json.loads((folder / "config.json").read_text())
        config = CLIPTextConfig.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError) as broken:
        raise ModelUnusable(f"{folder} holds no text encoder: {broken}") from broken
    if "text_config" in stated:
        config.projection_dim = stated.get("projection_dim", config.projection_dim)
    return config


def get_text_encoder(folder: Path, config: CLIPTextConfig, tokenizer: Path, backbone: Backbone) -> ClipTextEncoder:
    """Return the text encoder in a folder, resident beside the base model. Raises ModelUnusable when it is broken."""

    def build() -> ClipTextEncoder:
        model = _load(CLIPTextModelWithProjection, folder, backbone, skip=PICTURE_PARTS, config=config)
        return ClipTextEncoder(model, CLIPTokenizer.from_pretrained(tokenizer, local_files_only=True))

    encoder: ClipTextEncoder = backbone.get_or_load(f"text-encoder {folder}", build)
    return encoder


def _load(kind: Any, folder: Path, backbone: Backbone, *, skip: Sequence[str] = (), config: Any = None) -> Any:
    try:
        return load_component(folder, kind, device=backbone.device, dtype=backbone.dtype, skip=skip, config=config)
    except (ModelStoreError, OSError) as broken:
        raise ModelUnusable(f"{folder} cannot be loaded as {kind.__name__}: {broken}") from broken
