"""CSD, style and content descriptors: the authors' checkpoint on transformers' CLIP vision tower.

The file is the authors' as the key map `csd` converts it: `backbone.*`, `last_layer_style`, `last_layer_content`.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn.functional import normalize
from transformers import CLIPImageProcessorPil, CLIPVisionConfig, CLIPVisionModel
from transformers.image_utils import OPENAI_CLIP_MEAN, OPENAI_CLIP_STD

from model_store.errors import BadCheckpoint
from model_store.load.pickles import refuse_pickled
from model_store.load.tensors import load_tensors
from workers.engine.errors import ModelUnusable

HEADS = ("last_layer_style", "last_layer_content")
HEAD = 64
HEADS_OF_NARROW = 4
NAMES = (
    (r"^class_embedding$", "embeddings.class_embedding"),
    (r"^positional_embedding$", "embeddings.position_embedding.weight"),
    (r"^conv1\.", "embeddings.patch_embedding."),
    (r"^ln_pre\.", "pre_layrnorm."),
    (r"^ln_post\.", "post_layernorm."),
    (r"^transformer\.resblocks\.", "encoder.layers."),
    (r"\.attn\.out_proj\.", ".self_attn.out_proj."),
    (r"\.ln_([12])\.", r".layer_norm\1."),
    (r"\.mlp\.c_fc\.", ".mlp.fc1."),
    (r"\.mlp\.c_proj\.", ".mlp.fc2."),
)
"""From OpenAI's names of the tower to transformers'; `attn.in_proj` is cut into queries, keys and values besides."""


class Descriptor(nn.Module):
    """From normalised pixels to a style and a content descriptor."""

    mean: Tensor
    std: Tensor

    def __init__(self, tower: CLIPVisionModel, style: Tensor, content: Tensor, fingerprint: str) -> None:
        super().__init__()
        self.tower = tower
        self.fingerprint = fingerprint
        self.register_buffer("style", style)
        self.register_buffer("content", content)
        self.register_buffer("mean", torch.tensor(OPENAI_CLIP_MEAN)[:, None, None])
        self.register_buffer("std", torch.tensor(OPENAI_CLIP_STD)[:, None, None])

    @property
    def side(self) -> int:
        """Pixels of a side of what it sees."""
        return int(self.tower.config.image_size)

    def forward(self, unit: Tensor) -> tuple[Tensor, Tensor]:
        """Return style and content descriptors (n, d), each of length 1, of pictures (n, 3, side, side) in 0..1."""
        feature = self.tower((unit - self.mean) / self.std).pooler_output
        return normalize(feature @ self.style, dim=-1), normalize(feature @ self.content, dim=-1)

    @torch.no_grad()
    def describe(self, image: Image.Image) -> tuple[Tensor, Tensor]:
        """Return the descriptors (1, d) of a picture: shorter side scaled with PIL's bicubic filter, the middle cut."""
        square = {"height": self.side, "width": self.side}
        processor: Any = CLIPImageProcessorPil(
            size={"shortest_edge": self.side}, crop_size=square, do_normalize=False, do_convert_rgb=True
        )
        unit = torch.as_tensor(processor(images=image, return_tensors="pt").pixel_values)
        return self(unit.to(self.mean.device))


def load(path: Path) -> Descriptor:
    """Return the descriptor in a file, float32 on the CPU. Raises ModelUnusable, naming the tensor that is wrong."""
    tensors = _read(path)
    style, content = (tensors.pop(name, None) for name in HEADS)
    if style is None or content is None:
        raise ModelUnusable(f"{path} is no CSD checkpoint: {' and '.join(HEADS)} are needed")
    named = _of_transformers({name.removeprefix("backbone."): tensor for name, tensor in tensors.items()})
    tower = CLIPVisionModel(_config(path, named))
    _require_shapes(path, named, tower.state_dict())
    width = tower.config.hidden_size
    for name, head in zip(HEADS, (style, content), strict=True):
        if head.shape[0] != width:
            raise ModelUnusable(f"{path}: {name} has shape {tuple(head.shape)}, {width} rows are needed")
    tower.load_state_dict(named)
    facts = path.stat()
    fingerprint = f"{path.name}:{facts.st_size}:{facts.st_mtime_ns}"
    return Descriptor(tower, style, content, fingerprint).eval().requires_grad_(False)


def _require_shapes(path: Path, named: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> None:
    for name in sorted(named.keys() ^ expected.keys()):
        raise ModelUnusable(f"{path}: {name} is {'missing' if name in expected else 'no part of the tower'}")
    for name, tensor in named.items():
        if tensor.shape != expected[name].shape:
            raise ModelUnusable(f"{path}: {name} has shape {tuple(tensor.shape)}, {tuple(expected[name].shape)} fits")


def _read(path: Path) -> dict[str, Tensor]:
    try:
        refuse_pickled(path, "csd")
        return load_tensors(path, dtype=torch.float32)
    except BadCheckpoint as broken:
        raise ModelUnusable(f"{path} cannot be read as CSD: {broken}") from broken


def _of_transformers(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tower's tensors under transformers' names."""
    named: dict[str, Tensor] = {}
    for stored, tensor in tensors.items():
        name = stored
        for pattern, replacement in NAMES:
            name = re.sub(pattern, replacement, name)
        if ".attn.in_proj_" in name:
            begin, _, kind = name.partition(".attn.in_proj_")
            for part, piece in zip("qkv", tensor.chunk(3), strict=True):
                named[f"{begin}.self_attn.{part}_proj.{kind}"] = piece
        else:
            named[name] = tensor
    return named


def _config(path: Path, named: Mapping[str, Tensor]) -> CLIPVisionConfig:
    """Return the tower's configuration, read off its shapes; heads are 64 wide, four in towers narrower than that."""
    try:
        width, _, patch, _ = named["embeddings.patch_embedding.weight"].shape
        cells = named["embeddings.position_embedding.weight"].shape[0] - 1
        inner = named["encoder.layers.0.mlp.fc1.weight"].shape[0]
    except (KeyError, ValueError) as missing:
        raise ModelUnusable(f"{path} is no CSD checkpoint: {missing}") from missing
    return CLIPVisionConfig(
        hidden_size=width,
        intermediate_size=inner,
        num_hidden_layers=len({name.split(".")[2] for name in named if name.startswith("encoder.layers.")}),
        num_attention_heads=width // HEAD or HEADS_OF_NARROW,
        image_size=patch * round(cells**0.5),
        patch_size=patch,
        hidden_act="quick_gelu",
    )
