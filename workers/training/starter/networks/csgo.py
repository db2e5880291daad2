"""CSGO's parts (arXiv 2408.16766), small, in the authors' layout: two resamplers, and image attention by block."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers.models.embeddings import IPAdapterPlusImageProjection
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from safetensors.torch import save_file
from torch import Tensor, nn

from workers.training.starter.networks.attention import Decoupled, StarterShown, cross_attentions
from workers.training.starter.networks.text import WIDTH

CONTENT_TOKENS, STYLE_TOKENS = 4, 8
DEPTH, HEAD = 4, 64
"""Those of IP-Adapter Plus, which readers of this layout take for granted."""
STYLE_BLOCKS, CONTENT_BLOCKS, CONTROLNET_BLOCKS = "up_blocks.", "down_blocks.", "down_blocks."


@dataclass(frozen=True, eq=False)
class Composer:
    """What is trained, beside a frozen UNet and a frozen ControlNet."""

    trained: nn.ModuleDict
    shown: StarterShown


def resampler(tokens: int) -> IPAdapterPlusImageProjection:
    """Patch features (n, 65, 128) to tokens (n, tokens, 128)."""
    return IPAdapterPlusImageProjection(WIDTH, WIDTH, WIDTH, DEPTH, HEAD, WIDTH // HEAD, tokens)


def attach(unet: UNet2DConditionModel, net: Any) -> Composer:
    """Put the image attention into both networks, for training."""
    shown = StarterShown()
    unet.requires_grad_(False)
    net.requires_grad_(False)
    parts = {
        "content": resampler(CONTENT_TOKENS),
        "style": resampler(STYLE_TOKENS),
        "unet": _install(unet, {STYLE_BLOCKS: "style", CONTENT_BLOCKS: "content"}, shown),
        "controlnet": _install(net, {CONTROLNET_BLOCKS: "style"}, shown),
    }
    return Composer(nn.ModuleDict(parts).to(unet.device), shown)


def _install(net: Any, blocks: dict[str, str], shown: StarterShown) -> nn.ModuleDict:
    processors, found = dict(net.attn_processors), nn.ModuleDict()
    for _, layer in cross_attentions(net):
        for block, name in blocks.items():
            if layer.startswith(block):
                found[layer.replace(".", "/")] = Decoupled(net.get_submodule(layer), name, shown).to(net.device)
                processors[f"{layer}.processor"] = found[layer.replace(".", "/")]
    net.set_attn_processor(processors)
    return found


def write_composer(composer: Composer, unet: Any, path: Path) -> None:
    """The authors' layout in half precision, their ControlNet's own values left out: they are the tile ControlNet's."""
    trained: Any = composer.trained
    tensors = {f"{side}_image_proj.{name}": t for side in ("content", "style") for name, t in _published(trained[side])}
    numbers = {layer: number for number, layer in cross_attentions(unet)}
    for slashed, layer in trained["unet"].items():
        number = numbers[slashed.replace("/", ".")]
        tensors[f"ip_adapter.{number}.to_k_ip.weight"] = layer.to_k.weight
        tensors[f"ip_adapter.{number}.to_v_ip.weight"] = layer.to_v.weight
    for slashed, layer in trained["controlnet"].items():
        begin = f"controlnet_adapter_modules.{slashed.replace('/', '.')}.processor"
        tensors[f"{begin}.to_k_ip.weight"] = layer.to_k.weight
        tensors[f"{begin}.to_v_ip.weight"] = layer.to_v.weight
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({name: t.detach().half().contiguous().cpu() for name, t in tensors.items()}, path)


RENAMED = {
    "ln0.": "0.norm1.",
    "ln1.": "0.norm2.",
    "attn.to_q.": "0.to_q.",
    "attn.to_out.0.": "0.to_out.",
    "ff.0.": "1.0.",
    "ff.1.net.0.proj.": "1.1.",
    "ff.1.net.2.": "1.3.",
}


def _published(projection: nn.Module) -> list[tuple[str, Tensor]]:
    """A resampler's tensors by the names of IP-Adapter Plus, keys and values in one."""
    state, found = projection.state_dict(), []
    for name, tensor in state.items():
        if ".attn.to_v." in name:
            continue
        if ".attn.to_k." in name:
            both = torch.cat([tensor, state[name.replace("to_k", "to_v")]])
            found.append((name.replace("attn.to_k", "0.to_kv"), both))
            continue
        own = next((old for old in RENAMED if name.startswith("layers.") and f".{old}" in name), None)
        found.append((name if own is None else name.replace(f".{own}", f".{RENAMED[own]}"), tensor))
    return found
