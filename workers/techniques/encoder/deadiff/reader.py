"""What reads the picture: image encoder, Q-Former told a word, projector; from pixels to 16 tokens (spec, 1 to 4)."""

import hashlib
import re
from typing import Any

import torch
from accelerate import init_empty_weights
from PIL import Image
from torch import Tensor, nn
from transformers import CLIPVisionModel, InstructBlipQFormerModel
from transformers.activations import QuickGELUActivation
from transformers.image_utils import OPENAI_CLIP_MEAN, OPENAI_CLIP_STD

from workers.engine.backbones.base import Backbone
from workers.engine.images import to_unit
from workers.techniques.encoder.deadiff import dims
from workers.techniques.encoder.deadiff.checkpoint import DeadiffCheckpoint
from workers.techniques.encoder.deadiff.dims import Dims
from workers.techniques.encoder.deadiff.math import Side

POSITIONS = "blip.qformer.embeddings.position_embeddings.weight"
SPLIT = re.compile(r"^(blip\.vision\..*self_attn\.)[qkv]_proj\.(weight|bias)$")
"""What is three tensors in transformers and one, `in_proj_*`, in the published encoder."""


class Projector(nn.Module):
    """y = x + dense2(quickgelu(dense1(LayerNorm(x)))) for tokens (..., width)."""

    def __init__(self, width: int, sizes: dims.ProjectorDims) -> None:
        super().__init__()
        self.LayerNorm = nn.LayerNorm(width, eps=sizes.layer_norm_eps)
        self.dense1 = nn.Linear(width, sizes.hidden)
        self.dense2 = nn.Linear(sizes.hidden, width)
        self.act = QuickGELUActivation()

    def forward(self, x: Tensor) -> Tensor:
        """Return tokens of the same shape."""
        y: Tensor = self.dense2(self.act(self.dense1(self.LayerNorm(x))))
        return x + y


class Blip(nn.Module):
    """Image encoder without its last norm, and a Q-Former with its queries."""

    def __init__(self, sizes: Dims, positions: int) -> None:
        super().__init__()
        self.vision: Any = CLIPVisionModel(sizes.vision.config())
        self.vision.post_layernorm = nn.Identity()
        self.ln_vision = nn.LayerNorm(sizes.vision.width)
        self.qformer: Any = InstructBlipQFormerModel(sizes.qformer.config(sizes.vision, positions))
        self.query_tokens = nn.Parameter(torch.empty(1, sizes.num_query_tokens, sizes.qformer.hidden_size))


class Reader(nn.Module):
    """Reads one side of a picture, style or content."""

    def __init__(self, side: Side, sizes: Dims, positions: int) -> None:
        super().__init__()
        self.word: dims.Word = getattr(sizes.words, side)
        self.blip = Blip(sizes, positions)
        self.proj_layer = Projector(sizes.qformer.hidden_size, sizes.projector)

    def pixels(self, image: Image.Image) -> Tensor:
        """Return normalised pixel values (1, 3, S, S), float32: all of the picture squashed to a square, bicubic."""
        side: int = self.blip.vision.config.image_size
        unit = to_unit(image.convert("RGB").resize((side, side), Image.Resampling.BICUBIC))
        mean, std = (torch.tensor(numbers)[:, None, None] for numbers in (OPENAI_CLIP_MEAN, OPENAI_CLIP_STD))
        return (unit - mean) / std

    @torch.no_grad()
    def features(self, pixels: Tensor) -> Tensor:
        """Return the encoder's tokens (1, patches + 1, width) of pixel values."""
        place = self.blip.query_tokens
        seen = self.blip.vision(pixels.to(place.device, place.dtype)).last_hidden_state
        normed: Tensor = self.blip.ln_vision(seen)
        return normed

    @torch.no_grad()
    def answers(self, features: Tensor) -> Tensor:
        """Return what the queries become, (1, queries, width), when the Q-Former is told this reader's word."""
        queries = self.blip.query_tokens
        word = torch.tensor([self.word], device=queries.device)
        states = self.blip.qformer(input_ids=word, query_embeds=queries, encoder_hidden_states=features)
        answered: Tensor = states.last_hidden_state[:, : queries.shape[1]]
        return answered

    @torch.no_grad()
    def tokens(self, image: Image.Image) -> Tensor:
        """Return the tokens (queries, width) that the attentions of this side are shown."""
        projected: Tensor = self.proj_layer(self.answers(self.features(self.pixels(image))))
        return projected[0]


def get_or_load(side: Side, checkpoint: DeadiffCheckpoint, backbone: Backbone) -> Reader:
    """Return a side's reader, loaded beside the base model on first use; equal image encoders are one.

    Raises ModelUnusable, naming the key, when the checkpoint has another layout.
    """

    def build() -> Reader:
        reader = load(side, checkpoint, backbone.dtype)
        encoder = f"{checkpoint.file} image encoder {digest(reader.blip.vision)}"
        reader.blip.vision = backbone.get_or_load(encoder, lambda: reader.blip.vision)
        return reader.to(backbone.device)

    found: Reader = backbone.get_or_load(f"{checkpoint.file} {side} reader", build)
    return found


def load(side: Side, checkpoint: DeadiffCheckpoint, dtype: torch.dtype) -> Reader:
    """Return a side's reader on the CPU. Raises ModelUnusable, naming the key, when the layout is another."""
    shapes = checkpoint.shapes()
    positions = shapes.get(f"{side}_{POSITIONS}", [512])[0]
    with init_empty_weights(include_buffers=False):
        reader = Reader(side, checkpoint.dims, positions)
    names = {stored: stored for stored in shapes if stored.startswith((f"{side}_blip.", f"{side}_proj_layer."))}
    stored = checkpoint.tensors(names, {f"{side}_{name}": shape for name, shape in _expected(reader).items()}, dtype)
    reader.load_state_dict(
        {name: stored[f"{side}_{fused}"][rows] for name, fused, rows in _sources(reader)}, assign=True
    )
    return reader.eval().requires_grad_(False)


def _expected(reader: Reader) -> dict[str, tuple[int, ...]]:
    """Return the shapes of the tensors as published, by the model's names; the encoder's q, k, v lie in one."""
    state = reader.state_dict()
    found: dict[str, tuple[int, ...]] = {}
    for name, fused, _ in _sources(reader):
        shape = tuple(state[name].shape)
        found[fused] = shape if fused == name else (3 * shape[0], *shape[1:])
    return found


def _sources(reader: Reader) -> list[tuple[str, str, Any]]:
    """Return for each tensor of the reader: its name, that of the stored one, and which rows of it."""
    found: list[tuple[str, str, Any]] = []
    for name, tensor in reader.state_dict().items():
        if match := SPLIT.match(name):
            start = "qkv".index(name.removeprefix(match[1])[0]) * len(tensor)
            found.append((name, f"{match[1]}in_proj_{match[2]}", slice(start, start + len(tensor))))
        else:
            found.append((name, name, ...))
    return found


def digest(module: nn.Module) -> str:
    """Return a digest of a module's tensors on the CPU, with their names."""
    seen = hashlib.blake2b()
    for name, tensor in module.state_dict().items():
        seen.update(name.encode())
        seen.update(tensor.contiguous().view(torch.uint8).numpy().data)
    return seen.hexdigest()
