"""LoRAs for the tiny models in the layouts that training tools write, in UNet and text encoders."""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

LAYOUTS = ("kohya", "diffusers", "old-diffusers", "peft")
RANK = 4
ALPHA = 6.0
Factors = dict[str, tuple[torch.Tensor, torch.Tensor]]


def factors(module: torch.nn.Module, endings: tuple[str, ...], seed: int) -> Factors:
    """Return random halves (A, B) for the layers of a module whose names end so."""
    chance = torch.Generator().manual_seed(seed)
    found: Factors = {}
    for name, layer in module.named_modules():
        if name.endswith(endings):
            rows, columns = layer.weight.flatten(1).shape
            down, up = torch.randn(RANK, columns, generator=chance), torch.randn(rows, RANK, generator=chance)
            found[name] = (down * 0.1, up * 0.1)
    return found


def write(layout: str, pipe: Any, folder: Path, *, text: bool = True, seed: int = 7) -> Path:
    """Write a LoRA of strength ALPHA / RANK; return what `stylize models add` takes. peft's has no text encoder."""
    folder.mkdir(parents=True)
    parts = {"unet": factors(pipe.unet, (".to_q", ".to_k", ".to_v", ".to_out.0"), seed)}
    if text and layout != "peft":
        projections = (".q_proj", ".k_proj", ".v_proj", ".out_proj")
        for part in ("text_encoder", "text_encoder_2"):
            if getattr(pipe, part, None) is not None:
                parts[part] = factors(getattr(pipe, part), projections, seed + 1)
    tensors: dict[str, torch.Tensor] = {}
    for part, layers in parts.items():
        for name, (down, up) in layers.items():
            tensors |= _named(layout, part, name, down, up, several="text_encoder_2" in parts)
    if layout == "peft":
        described = {"peft_type": "LORA", "r": RANK, "lora_alpha": ALPHA}
        (folder / "adapter_config.json").write_text(json.dumps(described))
        save_file(tensors, folder / "adapter_model.safetensors")
        return folder
    save_file(tensors, folder / "lora.safetensors")
    return folder / "lora.safetensors"


def _named(
    layout: str, part: str, name: str, down: torch.Tensor, up: torch.Tensor, *, several: bool
) -> dict[str, torch.Tensor]:
    full = up * (ALPHA / RANK)
    wrapped = name if part == "unet" or name.startswith("text_model.") else f"text_model.{name}"
    if layout == "kohya":
        prefix = {"unet": "lora_unet", "text_encoder": "lora_te1" if several else "lora_te"}.get(part, "lora_te2")
        flat = f"{prefix}_{wrapped.replace('.', '_')}"
        halves = {f"{flat}.lora_down.weight": down, f"{flat}.lora_up.weight": up}
        return {**halves, f"{flat}.alpha": torch.tensor(ALPHA)}
    if layout == "peft":
        return {f"base_model.model.{name}.lora_A.weight": down, f"base_model.model.{name}.lora_B.weight": up}
    if layout == "diffusers":
        return {f"{part}.{wrapped}.lora_A.weight": down, f"{part}.{wrapped}.lora_B.weight": full}
    if part == "unet":
        parent, _, leaf = f"unet.{name}".replace(".to_out.0", ".to_out").rpartition(".")
        stem = f"{parent}.processor.{leaf}_lora"
    else:
        stem = f"{part}.{wrapped}.lora_linear_layer"
    return {f"{stem}.down.weight": down, f"{stem}.up.weight": full}
