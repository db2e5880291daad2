"""What a request shares with its reference, decided: every parameter that is null by default, and which layers."""

from dataclasses import dataclass

from model_store.catalogue.entry import Base
from workers.engine.backbones.base import Backbone
from workers.engine.errors import Refused
from workers.engine.technique import GenerationInputs
from workers.techniques.shared_attention.style_aligned import math
from workers.techniques.shared_attention.style_aligned.spec import (
    GROUP_NORM_WITHOUT_IMAGE,
    StyleAlignedParams,
    least_side,
    too_small,
)

IMAGE_SHIFT = 0.6931471805599453


@dataclass(frozen=True)
class Options:
    """What must be equal for two requests to share a batch: how the layers compute."""

    share_attention: bool
    adain_queries: bool
    adain_keys: bool
    adain_values: bool
    share_group_norm: bool
    full_attention_share: bool
    only_self_level: float

    @property
    def keeps_tokens(self) -> bool:
        """True when the reference's keys and values are needed, not only its statistics."""
        return self.share_attention and not self.full_attention_share


def read_options(inputs: GenerationInputs, params: StyleAlignedParams, base: Base) -> Options:
    """Return the options of a request on a base model."""
    group_norm = params.share_group_norm
    if group_norm is None:
        group_norm = bool(inputs.pictures.styles) or base in GROUP_NORM_WITHOUT_IMAGE
    return Options(
        share_attention=params.share_attention,
        adain_queries=params.adain_queries,
        adain_keys=params.adain_keys,
        adain_values=params.adain_values,
        share_group_norm=group_norm,
        full_attention_share=params.full_attention_share,
        only_self_level=params.only_self_level,
    )


def shift(inputs: GenerationInputs, params: StyleAlignedParams) -> float:
    """Return shared_score_shift, by default ln 2 with a style image and 0 without."""
    if params.shared_score_shift is not None:
        return params.shared_score_shift
    return IMAGE_SHIFT if inputs.pictures.styles else 0.0


def shared_layers(backbone: Backbone, level: float) -> tuple[str, ...]:
    """Return the names of the self-attentions that share. Raises Refused when only_self_level picks none."""
    names = [name.removesuffix(".processor") for name in backbone.attention_layers if "attn1" in name]
    try:
        plain = math.plain_layers(len(names), level)
    except ZeroDivisionError as none:
        raise Refused(
            f"only_self_level {level} picks no layer of the {len(names)} on this base model; "
            f"use 0 or 1, or a value from {1 / len(names):.3f} to {1 - 1 / len(names):.3f}"
        ) from none
    return tuple(name for name, alone in zip(names, plain, strict=True) if not alone)


def check_size(inputs: GenerationInputs, backbone: Backbone) -> None:
    """Raise Refused when a self-attention would see one token: its statistics do not exist."""
    least = least_side(len(backbone.denoiser.config.block_out_channels), backbone.vae_factor)
    if fault := too_small(inputs.width, inputs.height, least, backbone.name):
        raise Refused(fault)
