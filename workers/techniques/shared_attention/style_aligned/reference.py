"""The reference: its trajectory, and what is kept of it once it was run alone."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from workers.engine.backbones import patches
from workers.engine.backbones.base import Backbone
from workers.engine.backbones.controlnet import Control
from workers.engine.cache.style_cache import key_of
from workers.engine.denoise import DenoiserCall, Hooks, Trajectory
from workers.engine.noise import INITIAL, SeededNoise
from workers.engine.technique import GenerationInputs, PrepareContext, text_to_image
from workers.techniques.shared_attention.style_aligned import control, inversion
from workers.techniques.shared_attention.style_aligned.features import Features, Recording, token_bytes
from workers.techniques.shared_attention.style_aligned.options import Options, shared_layers
from workers.techniques.shared_attention.style_aligned.processors import (
    RecordingAttention,
    group_norms,
    recording_norm,
)
from workers.techniques.shared_attention.style_aligned.roles import ReferenceRole, reference
from workers.techniques.shared_attention.style_aligned.spec import SPEC, StyleAlignedParams

Draw = Callable[[int, tuple[int, int, int]], Tensor]


def seeded(seed: int, shape: tuple[int, int, int]) -> Tensor:
    """Return the starting noise (1, channels, h, w) of a generated reference."""
    return SeededNoise((seed,)).normal(INITIAL, shape)


def trajectory_of(
    inputs: GenerationInputs,
    params: StyleAlignedParams,
    context: PrepareContext,
    controlled: Control | None,
    draw: Draw,
) -> Trajectory:
    """Return the reference of a request ready to denoise: its own prompt, the request's guidance and negative prompt.

    With a style image its inverted latents are replayed, else it is generated from noise.
    """
    shape = context.backbone.latent_shape(inputs.width, inputs.height)
    own = replace(inputs, prompts=(params.reference_prompt or "",), seeds=(params.reference_seed,))
    trajectory = text_to_image(own, context, unit_noise=draw(params.reference_seed, shape))
    seen = controlled if params.control_on_reference else None
    role = ReferenceRole(control=seen)
    if inputs.pictures.styles:
        role = ReferenceRole(inversion.inverted(inputs, params, context), inversion.offset(inputs, params), seen)
    trajectory.extra = role
    role.correct(trajectory)
    return trajectory


def recorded(
    inputs: GenerationInputs,
    params: StyleAlignedParams,
    context: PrepareContext,
    options: Options,
    controlled: Control | None,
    trajectory: Callable[[], Trajectory],
) -> Features | None:
    """Return the reference's features, from the style cache where they were recorded before.

    None where no memory tier of the cache has room for them: then the reference is denoised jointly.
    """
    backbone = context.backbone
    layers = shared_layers(backbone, options.only_self_level)
    halves = 2 if inputs.guidance_scale > 1 else 1
    size = token_bytes(backbone, layers, inputs.width, inputs.height) * inputs.steps * halves * options.keeps_tokens
    device = context.cache.device_for(size)
    if device is None:
        return None
    key = key_of(**_facts(inputs, params, context, options, controlled))
    kept = context.cache.get(key, lambda: _record(context, trajectory(), layers, options, device))
    return Features(kept, backbone.device)


def _facts(
    inputs: GenerationInputs,
    params: StyleAlignedParams,
    context: PrepareContext,
    options: Options,
    controlled: Control | None,
) -> dict[str, Any]:
    """Return everything the features depend on; strength, scale, shift and AdaIN's options are not among it."""
    facts: dict[str, Any] = {
        "what": "reference features",
        "technique": SPEC.name,
        "version": SPEC.version,
        **inversion.model_facts(inputs, context),
        "reference_prompt": params.reference_prompt,
        "negative_prompt": inputs.negative_prompt,
        "guided": inputs.guidance_scale > 1,
        "only_self_level": options.only_self_level,
        "keeps_tokens": options.keeps_tokens,
        "group_norm": options.share_group_norm,
    }
    if inputs.pictures.styles:
        facts |= {"inversion": inversion.facts(inputs, params), "offset": inversion.offset(inputs, params)}
    else:
        facts |= {"seed": params.reference_seed, "guidance_scale": inputs.guidance_scale}
    if params.control_on_reference and controlled is not None:
        names = ("control", "controlnet_text", "controlnet_conditioning_scale")
        spans = ("control_guidance_start", "control_guidance_end")
        facts["control"] = {name: getattr(params, name) for name in (*names, *spans)}
        facts["control_image"] = controlled.digest
    return facts


class _Recorder(Hooks):
    """Steps the recording, adds control, replays."""

    def __init__(self, recording: Recording) -> None:
        self._recording = recording

    def before_predict(self, call: DenoiserCall) -> None:
        self._recording.step = call.rows[0].trajectory.step
        control.add(call)

    def after_step(self, trajectory: Trajectory) -> None:
        reference(trajectory).correct(trajectory)


def _record(
    context: PrepareContext,
    trajectory: Trajectory,
    layers: tuple[str, ...],
    options: Options,
    device: torch.device,
) -> Mapping[str, Tensor]:
    recording = Recording(trajectory.steps, device)
    with _listening(context.backbone, recording, layers, options):
        context.denoise([trajectory], _Recorder(recording))
    return recording.tensors


@contextmanager
def _listening(backbone: Backbone, recording: Recording, layers: tuple[str, ...], options: Options) -> Iterator[None]:
    """Let the self-attentions that share, and the GroupNorms if they do, leave their features in a recording."""
    unet = backbone.denoiser
    norms = group_norms(unet) if options.share_group_norm else {}
    processors = {f"{layer}.processor": RecordingAttention(layer, recording, options) for layer in layers}
    with patches.attention_processors(unet, processors), patches.forward(norms, recording_norm(norms, recording)):
        yield
