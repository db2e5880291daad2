"""FLUX.2 [klein] 4B as published: configurations of its parts."""

import json
from pathlib import Path
from typing import Any

from diffusers import AutoencoderKLFlux2, Flux2Transformer2DModel
from transformers import Qwen3ForCausalLM

from tests.support.published.flux import write_component

TEXT = 7680
"""Three hidden states of Qwen3-4B side by side."""
WIDTHS = {f"flux2-klein-{kind}": 4096 for kind in ("9b", "base-9b", "9b-kv")}
"""Of the transformers that are wider than FLUX.1's."""
TRANSFORMER_4B: dict[str, Any] = {
    "_class_name": "Flux2Transformer2DModel",
    "attention_head_dim": 128,
    "axes_dims_rope": [32, 32, 32, 32],
    "eps": 1e-6,
    "guidance_embeds": False,
    "in_channels": 128,
    "joint_attention_dim": TEXT,
    "mlp_ratio": 3.0,
    "num_attention_heads": 24,
    "num_layers": 5,
    "num_single_layers": 20,
    "out_channels": None,
    "patch_size": 1,
    "rope_theta": 2000,
    "timestep_guidance_channels": 256,
}
QWEN3_4B: dict[str, Any] = {
    "architectures": ["Qwen3ForCausalLM"],
    "model_type": "qwen3",
    "attention_bias": False,
    "head_dim": 128,
    "hidden_act": "silu",
    "hidden_size": 2560,
    "intermediate_size": 9728,
    "max_position_embeddings": 40960,
    "num_attention_heads": 32,
    "num_hidden_layers": 36,
    "num_key_value_heads": 8,
    "rms_norm_eps": 1e-6,
    "rope_theta": 1000000,
    "tie_word_embeddings": True,
    "vocab_size": 151936,
}
VAE: dict[str, Any] = {"_class_name": "AutoencoderKLFlux2"}


def write_klein(folder: Path) -> None:
    """Write the parts of the 4B with their weights holes: Qwen3 with all its layers and the norm that is not read."""
    write_component(folder / "transformer", Flux2Transformer2DModel, TRANSFORMER_4B)
    write_component(folder / "vae", AutoencoderKLFlux2, VAE)
    write_component(folder / "text_encoder", Qwen3ForCausalLM, QWEN3_4B)
    (folder / "model_index.json").write_text(json.dumps({"_class_name": "Flux2KleinPipeline", "is_distilled": True}))
