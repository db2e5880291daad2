"""A small random FLUX.2 [klein] in the published layout, for the builder beside."""

from pathlib import Path
from typing import Any

import torch
from diffusers import (
    AutoencoderKLFlux2,
    FlowMatchEulerDiscreteScheduler,
    Flux2KleinPipeline,
    Flux2Transformer2DModel,
)
from transformers import Qwen2TokenizerFast, Qwen3Config, Qwen3ForCausalLM

from tests.support.tiny.flux import seeded, with_lively_conditions
from tests.support.tiny.tokenizers import byte_symbols

LATENT_CHANNELS = 128
CHAT_TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n"
    "{% if enable_thinking is defined and enable_thinking is false %}<think>\n\n</think>\n\n{% endif %}{% endif %}"
)
"""What Qwen3's own template makes of one message."""


def build_klein(out: Path, *, distilled: bool = True) -> None:
    """Write a whole pipeline; text states are layers 9, 18 and 27 of 28, as published of 36."""
    pipe: Any = Flux2KleinPipeline(
        scheduler=_scheduler(),
        text_encoder=_qwen(),
        tokenizer=_tokenizer(),
        vae=seeded(202, _vae),
        transformer=seeded(203, _transformer),
        is_distilled=distilled,
    )
    pipe.save_pretrained(out, safe_serialization=True)


def _transformer() -> Any:
    model: Any = Flux2Transformer2DModel(
        patch_size=1,
        in_channels=LATENT_CHANNELS,
        num_layers=2,
        num_single_layers=4,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=48,
        timestep_guidance_channels=256,
        mlp_ratio=3.0,
        axes_dims_rope=(4, 4, 4, 4),
        rope_theta=2000,
        guidance_embeds=False,
    )
    return with_lively_conditions(model, modulation=15)


def _vae() -> Any:
    vae: Any = AutoencoderKLFlux2(
        block_out_channels=(16, 16, 32, 32), latent_channels=32, layers_per_block=1, norm_num_groups=8, sample_size=64
    )
    vae.bn.running_mean.copy_(0.3 * torch.randn(LATENT_CHANNELS))
    vae.bn.running_var.copy_(0.5 + torch.rand(LATENT_CHANNELS))
    return vae


def _qwen() -> Any:
    text = seeded(201, lambda: Qwen3ForCausalLM(_qwen_config()))
    for parameter in text.parameters():
        if parameter.dim() == 2:
            parameter.data.mul_(4)
    return text


def _qwen_config() -> Qwen3Config:
    return Qwen3Config(
        vocab_size=264,
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=28,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=8,
        max_position_embeddings=1024,
        rms_norm_eps=1e-6,
        rope_theta=1000000.0,
        tie_word_embeddings=True,
        use_cache=False,
    )


def _tokenizer() -> Any:
    tokenizer: Any = Qwen2TokenizerFast(
        vocab={symbol: code for code, symbol in enumerate(byte_symbols())},
        merges=[],
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        model_max_length=131072,
    )
    tokenizer.add_tokens(["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<think>", "</think>"], special_tokens=True)
    tokenizer.chat_template = CHAT_TEMPLATE
    return tokenizer


def _scheduler() -> FlowMatchEulerDiscreteScheduler:
    return FlowMatchEulerDiscreteScheduler(
        num_train_timesteps=1000,
        shift=3.0,
        use_dynamic_shifting=True,
        base_shift=0.5,
        max_shift=1.15,
        base_image_seq_len=256,
        max_image_seq_len=4096,
        time_shift_type="exponential",
    )
