"""The trained Q-Formers as a file that DEADiff's loader reads: tower, Q-Former and projector for either side."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor
from transformers import CLIPVisionModelWithProjection
from transformers.image_utils import OPENAI_CLIP_MEAN, OPENAI_CLIP_STD

from workers.training.starter.networks.qformer import (
    HEADS,
    INTERMEDIATE,
    LAYERS,
    NORM_EPS,
    PROJECTED,
    TOKENS,
    WORDS,
    Readers,
)
from workers.training.starter.networks.text import WIDTH


def write_readers(readers: Readers, encoder: CLIPVisionModelWithProjection, folder: Path) -> None:
    """The authors' checkpoint as it lies once converted, in half precision, and `dims.json` with its sizes."""
    trained: Any = readers.trained
    tensors: dict[str, Tensor] = {}
    for side in ("style", "content"):
        for name, tensor in trained[side].state_dict().items():
            tensors[f"{side}_{name}" if name.startswith("proj_layer.") else f"{side}_blip.{name}"] = tensor
        for name, tensor in tower(encoder).items():
            tensors[f"{side}_blip.vision.{name}"] = tensor
    for slashed, layer in trained["layers"].items():
        begin = f"unet.{slashed.replace('/', '.')}"
        tensors |= {f"{begin}.i_to_k.weight": layer.to_k.weight, f"{begin}.i_to_v.weight": layer.to_v.weight}
    folder.mkdir(parents=True, exist_ok=True)
    halves = {name: tensor.detach().half().contiguous().cpu() for name, tensor in tensors.items()}
    save_file(halves, folder / "deadiff_starter.safetensors")
    (folder / "dims.json").write_text(json.dumps(dims(encoder), indent=1) + "\n")


def dims(encoder: CLIPVisionModelWithProjection) -> dict[str, Any]:
    """The sizes of the readers, for whoever loads them."""
    vision = encoder.config
    return {
        "num_query_tokens": TOKENS,
        "qformer": {
            "hidden_size": WIDTH,
            "layers": LAYERS,
            "heads": HEADS,
            "intermediate_size": INTERMEDIATE,
            "vocab_rows": 1 + max(max(word) for word in WORDS.values()),
            "layer_norm_eps": NORM_EPS,
        },
        "vision": {
            "image_size": vision.image_size,
            "patch_size": vision.patch_size,
            "width": vision.hidden_size,
            "layers": vision.num_hidden_layers - 1,
            "heads": vision.num_attention_heads,
            "act": vision.hidden_act,
            "layer_norm_eps": vision.layer_norm_eps,
        },
        "projector": {"hidden": PROJECTED, "layer_norm_eps": NORM_EPS},
        "words": WORDS,
    }


def tower(encoder: CLIPVisionModelWithProjection) -> dict[str, Tensor]:
    """The image encoder but for its last layer, as the published tower is stored: q, k and v in one.

    It is given pictures normalised as CLIP's are, the encoder ones in [-1, 1]: x = 2 (p s + m) - 1 goes into the
    embedding of the patches, its constant part into that of their positions.
    """
    state = {name.removeprefix("vision_model."): t.clone() for name, t in encoder.state_dict().items()}
    mean, deviation = (torch.tensor(numbers)[:, None, None] for numbers in (OPENAI_CLIP_MEAN, OPENAI_CLIP_STD))
    patches = state["embeddings.patch_embedding.weight"]
    state["embeddings.position_embedding.weight"][1:] += (patches * (2 * mean - 1)).sum(dim=(1, 2, 3))
    state["embeddings.patch_embedding.weight"] = patches * 2 * deviation
    last = f"encoder.layers.{encoder.config.num_hidden_layers - 1}."
    unread = (last, "post_layernorm.", "visual_projection.", "embeddings.position_ids")
    return _fused({name: tensor for name, tensor in state.items() if not name.startswith(unread)})


def _fused(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    found: dict[str, Tensor] = {}
    for name, tensor in state.items():
        if ".q_proj." in name:
            parts = [state[name.replace("q_proj", each)] for each in ("q_proj", "k_proj", "v_proj")]
            found[name.replace("q_proj.", "in_proj_")] = torch.cat(parts)
        elif ".k_proj." not in name and ".v_proj." not in name:
            found[name] = tensor
    return found
