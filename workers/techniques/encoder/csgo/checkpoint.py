"""The authors' checkpoint: two image projections, adapters of the UNet, and the ControlNet with adapters of its own."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from workers.engine.errors import ModelUnusable
from workers.techniques.encoder import compatibility
from workers.techniques.encoder.adapter_file import AdapterFile, read_parts
from workers.techniques.encoder.csgo import math
from workers.techniques.encoder.csgo.math import Maps

CONTENT, STYLE = "content_image_proj", "style_image_proj"
UNET, CONTROLNET, CONV_IN = "ip_adapter", "controlnet_adapter_modules", "conv_in_unet_sd"
PARTS = (CONTENT, STYLE, UNET, CONTROLNET)
SUFFIXES = (".to_k_ip.weight", ".to_v_ip.weight")


@dataclass(frozen=True)
class CSGOCheckpoint:
    """The tensors of a checkpoint on the CPU, as stored."""

    path: Path
    content: AdapterFile
    style: AdapterFile
    unet: Mapping[str, Tensor]
    controlnet: Mapping[str, Tensor]
    conv_in: Mapping[str, Tensor]

    def style_in_unet(self, unet: Any) -> Maps:
        """Return the adapters of the UNet's up blocks. Raises ModelUnusable when one is missing or does not fit."""
        return self._in_unet(unet, math.STYLE_IN_UNET)

    def content_in_unet(self, unet: Any) -> Maps:
        """Return the adapters of the UNet's down blocks, none when the file has none.

        Raises ModelUnusable when some are missing or do not fit.
        """
        names = [f"{n}{suffix}" for n in _positions(unet, math.CONTENT_IN_UNET).values() for suffix in SUFFIXES]
        return self._in_unet(unet, math.CONTENT_IN_UNET) if any(name in self.unet for name in names) else {}

    def style_in_controlnet(self, net: Any) -> Maps:
        """Return the adapters of the ControlNet's down blocks. Raises ModelUnusable when one is missing or unfit."""
        stored = {layer: layer for layer in _positions(net, math.STYLE_IN_CONTROLNET)}
        return _maps(net, stored, self.controlnet, f"{self.path}: {CONTROLNET}")

    def controlnet_values(self, net: Any) -> dict[str, Tensor]:
        """Return the values that replace the ControlNet's own.

        Raises ModelUnusable naming a tensor that is neither the ControlNet's nor an adapter of its.
        """
        adapters = {f"{layer}{suffix}" for layer in _positions(net, math.STYLE_IN_CONTROLNET) for suffix in SUFFIXES}
        values = {name: tensor for name, tensor in self.controlnet.items() if name not in adapters}
        own = net.state_dict()
        for name, tensor in values.items():
            if name not in own or own[name].shape != tensor.shape:
                raise ModelUnusable(f"{self.path}: {CONTROLNET}.{name}: the ControlNet has no such tensor of its shape")
        return values

    def check_unet(self, unet: Any) -> None:
        """Raise ModelUnusable naming an adapter that no cross-attention of the UNet has, or the projections' misfit."""
        known = {f"{n}{suffix}" for n in _positions(unet, "").values() for suffix in SUFFIXES}
        unknown = sorted(set(self.unet) - known)
        if unknown:
            raise ModelUnusable(f"{self.path}: {UNET}.{unknown[0]}: the base model has no such cross-attention")
        for projection in (self.content, self.style):
            width = unet.config.cross_attention_dim
            if projection.token_width != width:
                raise ModelUnusable(
                    f"{self.path.name} makes tokens {projection.token_width} wide, the base model reads {width}"
                )

    def _in_unet(self, unet: Any, block: str) -> Maps:
        stored = {layer: str(n) for layer, n in _positions(unet, block).items()}
        return _maps(unet, stored, self.unet, f"{self.path}: {UNET}")


def read(path: Path) -> CSGOCheckpoint:
    """Return the checkpoint in a file. Raises ModelUnusable, naming what is missing, when it holds none."""
    parts = read_parts(path, (*PARTS, CONV_IN), keymap="csgo")
    for part in PARTS:
        if not parts[part]:
            raise ModelUnusable(f"{path} is no CSGO checkpoint: {part} is missing")
    projections = [AdapterFile(path, parts[part], {}) for part in (CONTENT, STYLE)]
    for part, projection in zip((CONTENT, STYLE), projections, strict=True):
        if "latents" not in projection.image_proj:
            raise ModelUnusable(f"{path}: {part}.latents: missing")
        if projection.kind != "plus":
            raise ModelUnusable(f"{path}: {part} is no resampler")
        compatibility.check_projection(projection)
    content, style = projections
    return CSGOCheckpoint(path, content, style, parts[UNET], parts[CONTROLNET], parts[CONV_IN])


def conv_in(checkpoint: CSGOCheckpoint, unet: Any) -> torch.nn.Conv2d | None:
    """Return the convolution that takes the place of the UNet's first, None when the file has none.

    Raises ModelUnusable when it has another shape.
    """
    if not checkpoint.conv_in:
        return None
    own = unet.conv_in
    found = torch.nn.Conv2d(own.in_channels, own.out_channels, own.kernel_size, own.stride, own.padding)
    try:
        found.load_state_dict(dict(checkpoint.conv_in))
    except RuntimeError as unfit:
        raise ModelUnusable(f"{checkpoint.path}: {CONV_IN}: {unfit}") from unfit
    return found


def _positions(net: Any, block: str) -> dict[str, int]:
    return math.cross_attentions(net.attn_processors, block)


def _maps(net: Any, stored: Mapping[str, str], tensors: Mapping[str, Tensor], where: str) -> Maps:
    """Return to_k_ip and to_v_ip of layers; `stored` has the beginnings of their names in the file."""
    expected = {f"{begin}{suffix}": layer for layer, begin in stored.items() for suffix in SUFFIXES}
    _require(expected, tensors, where)
    for name, layer in expected.items():
        to_k = net.get_submodule(layer.removesuffix(".processor")).to_k
        shape = (to_k.out_features, to_k.in_features)
        if tuple(tensors[name].shape) != shape:
            raise ModelUnusable(f"{where}.{name}: has shape {tuple(tensors[name].shape)}, {shape} is needed")
    to_k_ip, to_v_ip = SUFFIXES
    return {layer: (tensors[f"{begin}{to_k_ip}"], tensors[f"{begin}{to_v_ip}"]) for layer, begin in stored.items()}


def _require(expected: Iterable[str], tensors: Mapping[str, Tensor], where: str) -> None:
    missing = [name for name in expected if name not in tensors]
    if missing:
        more = f" and {len(missing) - 1} more adapter tensors" if len(missing) > 1 else ""
        raise ModelUnusable(f"{where}.{missing[0]}{more}: missing")
