"""FLUX.1 as published: configurations of its parts, and files that have its names and shapes but no weights."""

import json
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from diffusers.pipelines.flux.modeling_flux import ReduxImageEncoder
from transformers import SiglipVisionModel

from model_store.load.base import PARTS
from model_store.load.component import empty_component

Shapes = dict[str, tuple[int, ...]]

WIDTH, MLP, TEXT, POOLED, RANK = 3072, 12288, 4096, 768, 128
DOUBLE, SINGLE = 19, 38
TRANSFORMER: dict[str, Any] = {
    "_class_name": "FluxTransformer2DModel",
    "attention_head_dim": 128,
    "guidance_embeds": True,
    "in_channels": 64,
    "joint_attention_dim": TEXT,
    "num_attention_heads": 24,
    "num_layers": DOUBLE,
    "num_single_layers": SINGLE,
    "patch_size": 1,
    "pooled_projection_dim": POOLED,
}
FORMS: Mapping[str, dict[str, Any]] = {
    "flux1-dev": {},
    "flux1-schnell": {"guidance_embeds": False},
    "flux1-fill": {"in_channels": 384, "out_channels": 64},
    "flux1-canny": {"in_channels": 128, "out_channels": 64},
    "flux1-depth": {"in_channels": 128, "out_channels": 64},
}
"""What is different in the configuration of each transformer."""
VAE: dict[str, Any] = {
    "_class_name": "AutoencoderKL",
    "block_out_channels": [128, 256, 512, 512],
    "down_block_types": ["DownEncoderBlock2D"] * 4,
    "up_block_types": ["UpDecoderBlock2D"] * 4,
    "latent_channels": 16,
    "layers_per_block": 2,
    "norm_num_groups": 32,
    "sample_size": 1024,
    "scaling_factor": 0.3611,
    "shift_factor": 0.1159,
    "use_post_quant_conv": False,
    "use_quant_conv": False,
}
CLIP: dict[str, Any] = {
    "architectures": ["CLIPTextModel"],
    "model_type": "clip_text_model",
    "bos_token_id": 0,
    "eos_token_id": 2,
    "hidden_act": "quick_gelu",
    "hidden_size": 768,
    "intermediate_size": 3072,
    "max_position_embeddings": 77,
    "num_attention_heads": 12,
    "num_hidden_layers": 12,
    "pad_token_id": 1,
    "projection_dim": 768,
    "vocab_size": 49408,
}
T5: dict[str, Any] = {
    "architectures": ["T5EncoderModel"],
    "model_type": "t5",
    "d_ff": 10240,
    "d_kv": 64,
    "d_model": TEXT,
    "feed_forward_proj": "gated-gelu",
    "num_decoder_layers": 24,
    "num_heads": 64,
    "num_layers": 24,
    "relative_attention_max_distance": 128,
    "relative_attention_num_buckets": 32,
    "tie_word_embeddings": False,
    "use_cache": True,
    "vocab_size": 32128,
}
SIGLIP: dict[str, Any] = {
    "architectures": ["SiglipVisionModel"],
    "model_type": "siglip_vision_model",
    "hidden_act": "gelu_pytorch_tanh",
    "hidden_size": 1152,
    "image_size": 384,
    "intermediate_size": 4304,
    "num_attention_heads": 16,
    "num_hidden_layers": 27,
    "patch_size": 14,
}
REDUX: dict[str, Any] = {"_class_name": "ReduxImageEncoder", "redux_dim": 1152, "txt_in_features": TEXT}
PIPELINES = {
    "flux1-fill": "FluxFillPipeline",
    "flux1-canny": "FluxControlPipeline",
    "flux1-depth": "FluxControlPipeline",
}


def write_hollow(shapes: Mapping[str, tuple[int, ...]], file: Path) -> None:
    """Write a bfloat16 safetensors file of true size that takes no room on the disk: its data are a hole."""
    entries, at = {}, 0
    for name, shape in shapes.items():
        end = at + 2 * torch.Size(shape).numel()
        entries[name] = {"dtype": "BF16", "shape": list(shape), "data_offsets": [at, end]}
        at = end
    raw = json.dumps(entries).encode()
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("wb") as opened:
        opened.write(struct.pack("<Q", len(raw)) + raw)
        opened.truncate(8 + len(raw) + at)


def write_component(folder: Path, kind: type[Any], config: Mapping[str, Any]) -> None:
    """Write a component as its repository has it, its weights a hole: CLIP and SigLIP with their wrapper's prefix."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config))
    prefix = {"CLIPTextModel": "text_model.", "SiglipVisionModel": "vision_model."}.get(kind.__name__, "")
    model: Any = empty_component(folder, kind)
    tied = getattr(model, "_tied_weights_keys", None) or ()
    tensors = {name: tensor for name, tensor in model.state_dict().items() if name not in tied}
    shapes = {f"{prefix}{name.removeprefix(prefix)}": tuple(tensor.shape) for name, tensor in tensors.items()}
    stem = "diffusion_pytorch_model" if "_class_name" in config else "model"
    write_hollow(shapes, folder / f"{stem}.safetensors")


def write_flux(folder: Path, form: str) -> None:
    """Write the parts of a model of `FORMS` with their weights holes; no tokenizers, no scheduler."""
    configs = {"transformer": TRANSFORMER | FORMS[form], "vae": VAE, "text_encoder": CLIP, "text_encoder_2": T5}
    for name, kind in PARTS["flux"].items():
        write_component(folder / name, kind, configs[name])
    index = {"_class_name": PIPELINES.get(form, "FluxPipeline")}
    (folder / "model_index.json").write_text(json.dumps(index))


def write_redux(folder: Path) -> None:
    """Write SigLIP and the projector of Redux with their weights holes; the projector's in the authors' names."""
    write_component(folder / "image_encoder", SiglipVisionModel, SIGLIP)
    write_component(folder / "image_embedder", ReduxImageEncoder, REDUX)
    shapes: Shapes = {"redux_up.weight": (3 * TEXT, 1152), "redux_up.bias": (3 * TEXT,)}
    shapes |= {"redux_down.weight": (TEXT, 3 * TEXT), "redux_down.bias": (TEXT,)}
    write_hollow(shapes, folder / "image_embedder" / "diffusion_pytorch_model.safetensors")


def control_lora_shapes() -> Shapes:
    """Return names and shapes of the authors' control LoRAs: all linear layers, rank 128 at most, and norms."""
    layers = {"img_in": (128, WIDTH), "txt_in": (TEXT, WIDTH)}
    for name, inputs in (("time_in", 256), ("vector_in", POOLED), ("guidance_in", 256)):
        layers |= {f"{name}.in_layer": (inputs, WIDTH), f"{name}.out_layer": (WIDTH, WIDTH)}
    norms: Shapes = {}
    for block in range(DOUBLE):
        for side in ("img", "txt"):
            at = f"double_blocks.{block}.{side}"
            layers |= {f"{at}_mod.lin": (WIDTH, 6 * WIDTH), f"{at}_attn.qkv": (WIDTH, 3 * WIDTH)}
            layers |= {f"{at}_attn.proj": (WIDTH, WIDTH), f"{at}_mlp.0": (WIDTH, MLP), f"{at}_mlp.2": (MLP, WIDTH)}
            norms |= {f"{at}_attn.norm.{which}_norm.scale": (128,) for which in ("query", "key")}
    for block in range(SINGLE):
        at = f"single_blocks.{block}"
        layers |= {f"{at}.modulation.lin": (WIDTH, 3 * WIDTH), f"{at}.linear1": (WIDTH, 3 * WIDTH + MLP)}
        layers |= {f"{at}.linear2": (WIDTH + MLP, WIDTH)}
        norms |= {f"{at}.norm.{which}_norm.scale": (128,) for which in ("query", "key")}
    layers |= {"final_layer.linear": (WIDTH, 64), "final_layer.adaLN_modulation.1": (WIDTH, 2 * WIDTH)}
    shapes = norms
    for name, (inputs, outputs) in layers.items():
        rank = min(RANK, inputs, outputs)
        shapes |= {f"{name}.lora_A.weight": (rank, inputs), f"{name}.lora_B.weight": (outputs, rank)}
        shapes |= {f"{name}.lora_B.bias": (outputs,)}
    return shapes
