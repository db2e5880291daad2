"""Tiny checkpoints in the layouts that authors publish, written from diffusers models by the documented names."""

import json
import re
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

Tensors = dict[str, torch.Tensor]
RESNET = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}
TOP = {
    "conv_in": "input_blocks.0.0",
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "add_embedding.linear_1": "label_emb.0.0",
    "add_embedding.linear_2": "label_emb.0.2",
    "conv_norm_out": "out.0",
    "conv_out": "out.2",
}
VAE_ATTENTION = {"group_norm": "norm", "to_q": "q", "to_k": "k", "to_v": "v", "to_out.0": "proj_out"}


def ldm_unet_name(name: str, names: set[str]) -> str:
    """Return the LDM name of a UNet tensor; `names` are all of the UNet's."""
    for ours, theirs in TOP.items():
        if name.startswith(f"{ours}."):
            return name.replace(ours, theirs, 1)
    name = re.sub(r"(resnets\.\d+)\.(\w+)", lambda found: f"{found[1]}.{RESNET[found[2]]}", name)
    if found := re.match(r"mid_block\.(resnets|attentions)\.(\d)\.(.+)", name):
        place = 1 if found[1] == "attentions" else 2 * int(found[2])
        return f"middle_block.{place}.{found[3]}"
    block, index, kind, layer, rest = re.match(r"(down|up)_blocks\.(\d)\.(\w+)\.(\d)\.(.+)", name).groups()
    i, j = int(index), int(layer)
    if kind == "downsamplers":
        return f"input_blocks.{3 * i + 3}.0.{rest.replace('conv', 'op')}"
    if kind == "upsamplers":
        attends = any(other.startswith(f"up_blocks.{i}.attentions") for other in names)
        return f"output_blocks.{3 * i + 2}.{2 if attends else 1}.{rest}"
    place = 1 if kind == "attentions" else 0
    return (
        f"input_blocks.{3 * i + j + 1}.{place}.{rest}"
        if block == "down"
        else f"output_blocks.{3 * i + j}.{place}.{rest}"
    )


def ldm_vae(tensors: Tensors) -> Tensors:
    """Return a VAE's tensors in LDM names; its attention is made of 1x1 convolutions there."""
    renamed: Tensors = {}
    for name, tensor in tensors.items():
        if found := re.match(r"(.+)mid_block\.attentions\.0\.(.+)\.(weight|bias)$", name):
            new = f"{found[1]}mid.attn_1.{VAE_ATTENTION[found[2]]}.{found[3]}"
            tensor = tensor[..., None, None] if tensor.ndim == 2 else tensor
        else:
            new = re.sub(r"mid_block\.resnets\.(\d)", lambda m: f"mid.block_{int(m[1]) + 1}", name)
            new = re.sub(r"up_blocks\.(\d)", lambda m: f"up.{3 - int(m[1])}", new)
            new = re.sub(r"down_blocks\.(\d)", r"down.\1", new).replace("resnets", "block")
            new = new.replace("downsamplers.0", "downsample").replace("upsamplers.0", "upsample")
            new = new.replace("conv_shortcut", "nin_shortcut").replace("conv_norm_out", "norm_out")
        renamed[new] = tensor
    return renamed


def open_clip(tensors: Tensors) -> Tensors:
    """Return a CLIP text encoder's tensors in OpenCLIP names, with fused projections."""
    renamed: Tensors = {"text_projection": tensors["text_projection.weight"].T.contiguous()}
    renamed["positional_embedding"] = tensors["text_model.embeddings.position_embedding.weight"]
    renamed["token_embedding.weight"] = tensors["text_model.embeddings.token_embedding.weight"]
    for part in ("weight", "bias"):
        renamed[f"ln_final.{part}"] = tensors[f"text_model.final_layer_norm.{part}"]
    layers = 1 + max(int(found[1]) for name in tensors if (found := re.search(r"layers\.(\d+)\.", name)))
    pairs = {"layer_norm1": "ln_1", "layer_norm2": "ln_2", "mlp.fc1": "mlp.c_fc", "mlp.fc2": "mlp.c_proj"}
    for layer in range(layers):
        ours, theirs = f"text_model.encoder.layers.{layer}", f"transformer.resblocks.{layer}"
        for part in ("weight", "bias"):
            fused = [tensors[f"{ours}.self_attn.{which}_proj.{part}"] for which in "qkv"]
            renamed[f"{theirs}.attn.in_proj_{part}"] = torch.cat(fused)
            renamed[f"{theirs}.attn.out_proj.{part}"] = tensors[f"{ours}.self_attn.out_proj.{part}"]
            for old, new in pairs.items():
                renamed[f"{theirs}.{new}.{part}"] = tensors[f"{ours}.{old}.{part}"]
    return renamed


def _prefixed(prefix: str, tensors: Tensors) -> Tensors:
    return {f"{prefix}{name}": tensor.contiguous() for name, tensor in tensors.items()}


def _clip(tensors: Tensors) -> Tensors:
    """Return a CLIP text encoder's tensors under the name of the published files."""
    return {name if name.startswith("text_model.") else f"text_model.{name}": value for name, value in tensors.items()}


def single_file(diffusers_folder: Path) -> Tensors:
    """Return the tensors of an SD1.5 or SDXL folder as one checkpoint in the original LDM names."""
    unet = load_file(diffusers_folder / "unet" / "diffusion_pytorch_model.safetensors")
    vae = load_file(diffusers_folder / "vae" / "diffusion_pytorch_model.safetensors")
    text = load_file(diffusers_folder / "text_encoder" / "model.safetensors")
    whole = _prefixed("model.diffusion_model.", {ldm_unet_name(name, set(unet)): unet[name] for name in unet})
    whole |= _prefixed("first_stage_model.", ldm_vae(vae))
    second = diffusers_folder / "text_encoder_2" / "model.safetensors"
    if second.exists():
        whole |= _prefixed("conditioner.embedders.0.transformer.", _clip(text))
        return whole | _prefixed("conditioner.embedders.1.model.", open_clip(load_file(second)))
    return whole | _prefixed("cond_stage_model.transformer.", _clip(text))


def low_rank(unet: torch.nn.Module, rank: int = 4) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
    """Return random factors (A, B) for every attention projection of a UNet, by module name."""
    chance = torch.Generator().manual_seed(7)
    factors = {}
    for name, module in unet.named_modules():
        if name.endswith(("to_q", "to_k", "to_v", "to_out.0")):
            rows, columns = module.weight.shape
            down = torch.randn(rank, columns, generator=chance) * 0.1
            factors[name] = (down, torch.randn(rows, rank, generator=chance) * 0.1)
    return factors


def lora(layout: str, factors: dict[str, tuple[torch.Tensor, torch.Tensor]], folder: Path) -> Path:
    """Write a LoRA of strength 2 * B @ A in a layout; return the file, or the folder for peft."""
    folder.mkdir(parents=True)
    tensors: Tensors = {}
    for name, (down, up) in factors.items():
        rank = down.shape[0]
        if layout == "kohya":
            flat = f"lora_unet_{name.replace('.', '_')}"
            tensors |= {f"{flat}.lora_down.weight": down, f"{flat}.lora_up.weight": up}
            tensors[f"{flat}.alpha"] = torch.tensor(2.0 * rank)
        elif layout == "diffusers":
            tensors |= {f"unet.{name}.lora_A.weight": down, f"unet.{name}.lora_B.weight": 2 * up}
        elif layout == "old-diffusers":
            short = f"unet.{name}".replace(".to_out.0", ".to_out")
            parent, _, leaf = short.rpartition(".")
            tensors |= {f"{parent}.processor.{leaf}_lora.down.weight": down}
            tensors |= {f"{parent}.processor.{leaf}_lora.up.weight": 2 * up}
        else:
            tensors |= {f"base_model.model.{name}.lora_A.weight": down, f"base_model.model.{name}.lora_B.weight": up}
    if layout == "peft":
        save_file(tensors, folder / "adapter_model.safetensors")
        (folder / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA", "r": 4, "lora_alpha": 8}))
        return folder
    save_file(tensors, folder / f"{layout}.safetensors")
    return folder / f"{layout}.safetensors"


def ip_adapter(unet: torch.nn.Module, *, plus: bool = False) -> dict[str, Tensors]:
    """Return an adapter for a UNet as the authors' pickled files nest it."""
    chance = torch.Generator().manual_seed(9)

    def of(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=chance)

    width = unet.config.cross_attention_dim
    layers: Tensors = {}
    for place, name in enumerate(unet.attn_processors):
        if name.endswith("attn2.processor"):
            rows = unet.get_submodule(name.removesuffix(".processor")).to_k.out_features
            layers |= {f"{place}.to_k_ip.weight": of(rows, width), f"{place}.to_v_ip.weight": of(rows, width)}
    if not plus:
        proj = {"proj.weight": of(4 * width, 32), "proj.bias": of(4 * width)}
        return {"image_proj": {**proj, "norm.weight": of(width), "norm.bias": of(width)}, "ip_adapter": layers}
    d = 64
    proj = {"latents": of(1, 16, d), "proj_in.weight": of(d, 32), "proj_in.bias": of(d)}
    proj |= {"proj_out.weight": of(width, d), "proj_out.bias": of(width)}
    proj |= {"norm_out.weight": of(width), "norm_out.bias": of(width)}
    for layer in range(4):
        proj |= {f"layers.{layer}.0.{norm}.{part}": of(d) for norm in ("norm1", "norm2") for part in ("weight", "bias")}
        proj |= {f"layers.{layer}.0.to_q.weight": of(d, d), f"layers.{layer}.0.to_kv.weight": of(2 * d, d)}
        proj |= {f"layers.{layer}.0.to_out.weight": of(d, d), f"layers.{layer}.1.0.weight": of(d)}
        proj |= {f"layers.{layer}.1.0.bias": of(d), f"layers.{layer}.1.1.weight": of(4 * d, d)}
        proj |= {f"layers.{layer}.1.3.weight": of(d, 4 * d)}
    return {"image_proj": proj, "ip_adapter": layers}


def flattened(nested: dict[str, Tensors]) -> Tensors:
    """Return nested tensors with joined names, as the published safetensors files have them."""
    return {f"{part}.{name}": tensor for part, tensors in nested.items() for name, tensor in tensors.items()}


def nested(flat: Tensors) -> dict[str, Tensors]:
    """Return tensors with joined names nested by their first part, as diffusers' loader takes an adapter."""
    parts: dict[str, Tensors] = {}
    for name, tensor in flat.items():
        part, _, rest = name.partition(".")
        parts.setdefault(part, {})[rest] = tensor
    return parts
