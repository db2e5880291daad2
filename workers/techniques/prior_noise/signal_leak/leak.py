"""Where a request's signal leak comes from: one style image, a style set, or installed statistics."""

from dataclasses import dataclass

import torch
from torch import Tensor

from workers.engine.cache.style_cache import key_of
from workers.engine.errors import Refused
from workers.engine.technique import GenerationInputs, PrepareContext
from workers.techniques.prior_noise import statistics, stats_file, style_set
from workers.techniques.prior_noise.signal_leak import math
from workers.techniques.prior_noise.signal_leak.spec import SPEC, SignalLeakParams
from workers.techniques.prior_noise.statistics import Coordinates

INDICES = "dct_indices_row_col"


@dataclass(frozen=True)
class Statistics:
    """What the leak is drawn from: `pixel` or `dct+pixel` tensors under their published names, float32 on the CPU.

    `coordinates` are the DCT frequencies of the low components, in their order; empty for `pixel`.
    """

    tensors: dict[str, Tensor]
    coordinates: Coordinates = ()


def statistics_of(inputs: GenerationInputs, params: SignalLeakParams, context: PrepareContext) -> Statistics:
    """Return the statistics a request asks for, from the style cache where they were computed before.

    Raises Refused when they are undefined for these inputs or this size.
    """
    if params.statistics is not None:
        return _installed(inputs, params, context)
    kept = [(image, w) for image, w in zip(inputs.pictures.styles, inputs.weights, strict=True) if w > 0]
    images, w = [image for image, _ in kept], statistics.weights([w for _, w in kept])
    frequencies = _frequencies(inputs, params, context, single=len(images) == 1)
    facts = style_set.facts(images, context.backbone, inputs.width, inputs.height)
    key = key_of(
        technique=SPEC.name,
        version=SPEC.version,
        **facts,
        weights=w.tolist(),
        single=params.single_reference if len(images) == 1 else None,
        frequencies=frequencies,
    )

    def build() -> dict[str, Tensor]:
        z = style_set.latents(images, context.backbone, inputs.width, inputs.height)
        if len(images) == 1:
            return single(z[0], params.single_reference, frequencies)
        return several(z, w, frequencies)

    return Statistics(context.cache.get(key, build), frequencies)


def single(z: Tensor, form: str, frequencies: Coordinates) -> dict[str, Tensor]:
    """Return the statistics of one latent (C, h, w): its palette, its layout, or its layout at low frequencies."""
    if form == "low-frequency":
        low = statistics.components(z, frequencies)
        nothing = torch.zeros_like(z)
        return {
            "mean_lf_components": low,
            "cov_lf_components": torch.zeros(len(low), len(low)),
            "mean_hf_remainder": nothing,
            "var_hf_remainder": nothing.clone(),
        }
    mean, var = statistics.palette(z) if form == "palette" else (z, torch.zeros_like(z))
    return {"mean_pixels": mean, "var_pixels": var}


def several(z: Tensor, w: Tensor, frequencies: Coordinates) -> dict[str, Tensor]:
    """Return the statistics of several latents (N, C, h, w): dct+pixel when there are frequencies, else pixel."""
    kind = "dct+pixel" if frequencies else "pixel"
    values = statistics.dct_pixel(z, w, frequencies) if frequencies else statistics.pixel(z, w)
    return dict(zip(stats_file.KEYS[kind], values, strict=True))


def drawn(inputs: GenerationInputs, params: SignalLeakParams, found: Statistics, shape: tuple[int, int, int]) -> Tensor:
    """Return the leak s (n, C, h, w), float32, one independent draw per picture, with the manual colour added."""
    e1 = inputs.noise.normal("leak", shape)
    t = found.tensors
    if "mean_pixels" in t:
        s = math.pixel_leak(t["mean_pixels"].cpu(), t["var_pixels"].cpu(), e1)
    else:
        low = None
        if not params.only_hf:
            low = inputs.noise.multivariate("leak-low", t["mean_lf_components"].cpu(), t["cov_lf_components"].cpu())
        s = math.dct_leak(low, t["mean_hf_remainder"].cpu(), t["var_hf_remainder"].cpu(), e1, found.coordinates)
    return s + _color(params, shape[0])[:, None, None]


def _color(params: SignalLeakParams, channels: int) -> Tensor:
    constant = torch.zeros(channels)
    if params.color is not None:
        if len(params.color) != channels:
            raise Refused(f"params.color needs {channels} numbers on this base model, not {len(params.color)}")
        constant += torch.tensor(params.color)
    if params.channel is not None:
        if params.channel >= channels:
            raise Refused(f"params.channel must be below {channels} on this base model")
        constant[params.channel] += params.value
    return constant


def _frequencies(
    inputs: GenerationInputs, params: SignalLeakParams, context: PrepareContext, *, single: bool
) -> Coordinates:
    """Return the DCT coordinates to measure, or () for pixel statistics."""
    if not params.measures_frequencies(1 if single else len(inputs.weights)):
        if params.only_hf:
            raise Refused("params.only_hf needs several style images and statistic_type dct+pixel")
        return ()
    if fault := params.size_fault(
        inputs.width, inputs.height, base=context.backbone.base, references=1 if single else len(inputs.weights)
    ):
        raise Refused(fault)
    side = context.backbone.latent_shape(inputs.width, inputs.height)[1]
    return _within(params.dct_indices or statistics.lowest(params.n_components, side), side)


def _within(coordinates: Coordinates, side: int) -> Coordinates:
    if any(row >= side or col >= side for row, col in coordinates):
        raise Refused(f"params.dct_indices must be below {side} at this size")
    return coordinates


def _installed(inputs: GenerationInputs, params: SignalLeakParams, context: PrepareContext) -> Statistics:
    assert params.statistics is not None
    kind, tensors = stats_file.read(context.weights(params.statistics))
    shape = context.backbone.latent_shape(inputs.width, inputs.height)
    measured = tuple(tensors[stats_file.KEYS[kind][-1]].shape)
    if measured != shape:
        raise Refused(f"{params.statistics} was measured on latents of {measured}, this request has {shape}")
    if kind == "pixel":
        if params.only_hf:
            raise Refused(f"params.only_hf needs dct+pixel statistics; {params.statistics} has pixel statistics")
        return Statistics(tensors)
    n = len(tensors["mean_lf_components"]) // shape[0]
    coordinates = params.dct_indices or statistics.lowest(n, shape[1])
    if len(coordinates) != n:
        raise Refused(f"{params.statistics} has {n} components, params.dct_indices names {len(coordinates)}")
    return Statistics(tensors, _within(coordinates, shape[1]))
