"""Small random FLUX models in the published layouts, for the builder beside: every width differs from the others.

FLUX normalises queries and keys, so their norms' scales are enlarged in place of the projections: attention is peaked,
and a wrong mask or position shows in the output.
"""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from diffusers import (
    AutoencoderKL,
    FlowMatchEulerDiscreteScheduler,
    FluxTransformer2DModel,
)
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTokenizer,
    T5Config,
    T5EncoderModel,
    T5TokenizerFast,
)

from tests.support.tiny.tokenizers import save_byte_vocabulary

CLIP_WIDTH, T5_WIDTH = 24, 40
DOUBLE_BLOCKS, SINGLE_BLOCKS, HEADS, HEAD_DIM = 3, 5, 2, 16
INNER = HEADS * HEAD_DIM
LATENT_CHANNELS, FILL_CHANNELS, CONTROL_CHANNELS = 64, 384, 128


def seeded(seed: int, build: Callable[[], Any]) -> Any:
    """Return what `build` makes from a fixed random state, in evaluation mode."""
    torch.manual_seed(seed)
    return build().eval()


def build_pipeline(kind: Any, out: Path, seed: int, *, channels: int = LATENT_CHANNELS, dev: bool = True) -> None:
    """Write a whole pipeline; `dev` has embedded guidance and a schedule shifted by the size."""
    scratch = out.parent / f".{out.name}-tokenizer"
    pipe = kind(
        scheduler=_scheduler(dev),
        vae=seeded(103, _vae),
        text_encoder=seeded(101, _clip),
        text_encoder_2=seeded(102, _t5),
        tokenizer=_clip_tokenizer(scratch),
        tokenizer_2=_t5_tokenizer(),
        transformer=seeded(seed, lambda: _transformer(channels, dev)),
    )
    pipe.save_pretrained(out, safe_serialization=True)
    shutil.rmtree(scratch)


def _transformer(channels: int, dev: bool) -> Any:
    model: Any = FluxTransformer2DModel(
        patch_size=1,
        in_channels=channels,
        out_channels=LATENT_CHANNELS,
        num_layers=DOUBLE_BLOCKS,
        num_single_layers=SINGLE_BLOCKS,
        attention_head_dim=HEAD_DIM,
        num_attention_heads=HEADS,
        joint_attention_dim=T5_WIDTH,
        pooled_projection_dim=CLIP_WIDTH,
        guidance_embeds=dev,
        axes_dims_rope=(4, 6, 6),
    )
    return with_lively_conditions(model, modulation=5)


def with_lively_conditions(model: Any, modulation: float) -> Any:
    """Make conditions count: peaked attention, modulation and text far from zero, an output above the noise."""
    for name, parameter in model.named_parameters():
        if name.endswith(("norm_q.weight", "norm_k.weight", "norm_added_q.weight", "norm_added_k.weight")):
            parameter.data.copy_(1.7 + 0.2 * torch.randn_like(parameter))
        elif (".norm" in name and name.endswith("linear.weight")) or "modulation" in name:
            parameter.data.mul_(modulation)
        elif name.startswith("context_embedder"):
            parameter.data.mul_(6)
        elif name == "proj_out.weight":
            parameter.data.mul_(4)
    return model


def _scheduler(dev: bool) -> FlowMatchEulerDiscreteScheduler:
    return FlowMatchEulerDiscreteScheduler(
        num_train_timesteps=1000,
        shift=3.0 if dev else 1.0,
        use_dynamic_shifting=dev,
        base_shift=0.5,
        max_shift=1.15,
        base_image_seq_len=256,
        max_image_seq_len=4096,
    )


def _vae() -> AutoencoderKL:
    return AutoencoderKL(
        block_out_channels=(16, 16, 32, 32),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        latent_channels=16,
        layers_per_block=1,
        norm_num_groups=8,
        sample_size=64,
        scaling_factor=0.3611,
        shift_factor=0.1159,
        use_quant_conv=False,
        use_post_quant_conv=False,
        force_upcast=True,
    )


def _clip() -> CLIPTextModel:
    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=514,
            hidden_size=CLIP_WIDTH,
            intermediate_size=48,
            num_hidden_layers=2,
            num_attention_heads=4,
            max_position_embeddings=77,
            hidden_act="quick_gelu",
            projection_dim=CLIP_WIDTH,
            bos_token_id=0,
            eos_token_id=2,
            pad_token_id=1,
        )
    )


def _t5() -> T5EncoderModel:
    return T5EncoderModel(
        T5Config(
            vocab_size=124,
            d_model=T5_WIDTH,
            d_kv=8,
            d_ff=64,
            num_layers=2,
            num_heads=4,
            relative_attention_num_buckets=32,
            relative_attention_max_distance=128,
            feed_forward_proj="gated-gelu",
            dense_act_fn="gelu_new",
            is_gated_act=True,
            tie_word_embeddings=False,
            use_cache=False,
        )
    )


def _clip_tokenizer(folder: Path) -> CLIPTokenizer:
    save_byte_vocabulary(folder)
    return CLIPTokenizer(
        str(folder / "vocab.json"), str(folder / "merges.txt"), pad_token="<|endoftext|>", model_max_length=77
    )


def _t5_tokenizer() -> T5TokenizerFast:
    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("\u2581", -2.0)]
    pieces += [(chr(code), -3.0) for code in range(33, 127)]
    pieces += [("\u2581" + chr(code), -3.5) for code in range(ord("a"), ord("z") + 1)]
    return T5TokenizerFast(vocab=pieces, extra_ids=0, model_max_length=512)
