"""The converted checkpoint: where it is, what is in it, and its tensors checked by name and shape before they load.

The key map `deadiff` wrote it: readers in transformers' names below `style_` and `content_`, UNet and text encoder
still in LDM names, which diffusers' own conversion reads. UNet (but for `i_to_k`, `i_to_v`) and text encoder may be
absent, and the layers named as in diffusers below `unet.`: an adapter without base weights.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers.loaders.single_file_utils import convert_ldm_unet_checkpoint
from torch import Tensor

from model_store.errors import BadCheckpoint
from model_store.load.header import read_header
from model_store.load.pickles import refuse_pickled
from model_store.load.tensors import load_tensors
from workers.engine.backbones.base import Backbone
from workers.engine.errors import ModelUnusable, WeightsMissing
from workers.engine.technique import PrepareContext
from workers.techniques.encoder.deadiff import dims
from workers.techniques.encoder.deadiff.dims import Dims

MODEL = "deadiff"
LDM_UNET = "model.diffusion_model."
LDM_TEXT = "cond_stage_model.transformer."
UNET = "unet."
ADDED = (".i_to_k.weight", ".i_to_v.weight")


@dataclass(frozen=True)
class DeadiffCheckpoint:
    """A safetensors file in the converted layout, and the sizes of its readers."""

    file: Path
    dims: Dims

    @property
    def fingerprint(self) -> str:
        """A name for its content in cache keys: sizes, and the file's name, size and time of change."""
        facts = self.file.stat()
        return f"{self.file.name}:{facts.st_size}:{facts.st_mtime_ns}:{self.dims.model_dump_json()}"

    def shapes(self) -> dict[str, list[int]]:
        """Return the shape of every tensor by its stored name. Raises ModelUnusable for a broken file."""
        try:
            return {name: tensor.shape for name, tensor in read_header(self.file).tensors.items()}
        except BadCheckpoint as broken:
            raise ModelUnusable(str(broken)) from broken

    def tensors(
        self, names: Mapping[str, str], expected: Mapping[str, Iterable[int]], dtype: torch.dtype | None = None
    ) -> dict[str, Tensor]:
        """Return tensors on the CPU by their names in the model, given those by stored name; others are left out.

        Raises ModelUnusable, naming the key, unless they are exactly the expected ones, with their shapes.
        """
        shapes = {name: tuple(shape) for name, shape in expected.items()}
        try:
            return load_tensors(self.file, dtype=dtype, expected=shapes, rename=names.get)
        except BadCheckpoint as broken:
            raise ModelUnusable(f"this is no DEADiff checkpoint for this model: {broken}") from broken


def find_checkpoint(context: PrepareContext) -> DeadiffCheckpoint:
    """Return the checkpoint: in `deadiff/` of the base model's folder if there is one, else that of the store.

    Raises WeightsMissing with the command that fetches it, ModelUnusable with the one that converts a pickled file.
    """
    own = context.backbone.folder
    if own is not None and (files := sorted((own / MODEL).glob("*.safetensors"))):
        return DeadiffCheckpoint(files[0], dims.read(own / MODEL))
    try:
        found = context.weights(MODEL)
    except WeightsMissing as missing:
        raise WeightsMissing(f"{MODEL} is not installed; run: stylize models pull {MODEL}") from missing
    files = [found] if found.is_file() else sorted(found.glob("*.safetensors"))
    if not files:
        raise WeightsMissing(f"{found} holds no converted checkpoint; run: stylize models pull {MODEL}")
    try:
        refuse_pickled(files[0], MODEL)
    except BadCheckpoint as pickled:
        raise ModelUnusable(str(pickled)) from pickled
    return DeadiffCheckpoint(files[0], dims.read(files[0].parent))


def layers(unet: Any) -> tuple[str, ...]:
    """Return the UNet's cross-attentions, named as in `unet.attn_processors`."""
    return tuple(name for name in unet.attn_processors if name.endswith("attn2.processor"))


def added(layer: str) -> tuple[str, str]:
    """Return the names of a layer's image projections."""
    stem = UNET + layer.removesuffix(".processor")
    return stem + ADDED[0], stem + ADDED[1]


def added_tensors(checkpoint: DeadiffCheckpoint, backbone: Backbone) -> dict[str, Tensor]:
    """Return the image projections of every cross-attention, (C, token width) each, by the names of `added`."""
    width = checkpoint.dims.qformer.hidden_size
    names = {
        stored: name for stored, name in _unet_names(checkpoint, backbone.denoiser).items() if name.endswith(ADDED)
    }
    expected: dict[str, Iterable[int]] = {}
    for layer in layers(backbone.denoiser):
        rows = backbone.denoiser.get_submodule(layer.removesuffix(".processor")).to_k.out_features
        expected |= dict.fromkeys(added(layer), (rows, width))
    return checkpoint.tensors(names, expected)


def unet_tensors(checkpoint: DeadiffCheckpoint, backbone: Backbone) -> dict[str, Tensor]:
    """Return the checkpoint's own UNet as stored, by diffusers' names; none where it brings no UNet."""
    names = _unet_names(checkpoint, backbone.denoiser)
    own = {stored: name.removeprefix(UNET) for stored, name in names.items() if not name.endswith(ADDED)}
    return checkpoint.tensors(own, _shapes(backbone.denoiser)) if own else {}


def text_tensors(checkpoint: DeadiffCheckpoint, backbone: Backbone) -> dict[str, Tensor]:
    """Return the checkpoint's own text encoder as stored, by transformers' names; none where it brings none."""
    expected = _shapes(backbone.components["text_encoder"])
    names: dict[str, str] = {}
    for stored in checkpoint.shapes():
        if stored.startswith(LDM_TEXT):
            name = stored.removeprefix(LDM_TEXT)
            bare = name.removeprefix("text_model.")
            names[stored] = bare if bare in expected else name
    return checkpoint.tensors(names, expected) if names else {}


def _unet_names(checkpoint: DeadiffCheckpoint, unet: Any) -> dict[str, str]:
    """Return the name below `unet.` of each stored UNet tensor; of one that diffusers does not know, its own."""
    shapes = checkpoint.shapes()
    ldm = {stored: stored for stored in shapes if stored.startswith(LDM_UNET)}
    converted = convert_ldm_unet_checkpoint(ldm, unet.config) if ldm else {}
    known = {stored: UNET + name for name, stored in converted.items() if stored is not None}
    plain = {stored: stored for stored in shapes if stored.startswith(UNET)}
    return ldm | known | plain


def _shapes(module: torch.nn.Module) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in module.named_parameters()}
