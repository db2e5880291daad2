"""Parity of FLUX.1: cases as calls of redux, fill and redux-fill."""

import math
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from tests.parity.case import Case
from tests.parity.lab import Lab, carry, inputs
from workers.contract.spec import Params
from workers.engine.backbones.flux import CHANNELS, Flux, pack
from workers.engine.technique import GenerationInputs, PrepareContext, Technique
from workers.techniques import canvas, control_maps
from workers.techniques.edit.fill.spec import FillParams
from workers.techniques.edit.fill.technique import Fill
from workers.techniques.encoder import redux_tokens
from workers.techniques.encoder.redux.spec import ReduxParams
from workers.techniques.encoder.redux.technique import Redux, reference_tokens
from workers.techniques.encoder.redux_fill.spec import ReduxFillParams
from workers.techniques.encoder.redux_fill.technique import ReduxFill, style_tokens
from workers.techniques.flux import Encode

LATENT_CHANNELS = 16
TECHNIQUES: dict[str, tuple[type[Any], type[Params]]] = {
    "text": (Redux, ReduxParams),
    "redux": (Redux, ReduxParams),
    "image-to-image": (Redux, ReduxParams),
    "control": (Redux, ReduxParams),
    "redux-control": (Redux, ReduxParams),
    "fill": (Fill, FillParams),
    "outpaint": (Fill, FillParams),
    "redux-fill": (ReduxFill, ReduxFillParams),
}


MAPS = ("canny-map", "depth-map")


def technique_of(case: Case) -> str:
    """Return the registered technique of a case."""
    if case.variant in MAPS:
        return "redux"
    return TECHNIQUES[case.variant][0].spec.name if case.variant in TECHNIQUES else case.variant


def run(case: Case, lab: Lab) -> Mapping[str, Tensor]:
    """Return every tensor of a case that we can compute, by its recorded name."""
    if case.variant in MAPS:
        return _map(case, lab)
    kind, _ = TECHNIQUES[case.variant]
    technique: Technique = kind(encode=sampled(case))
    asked = _inputs(case)
    context = lab.context(case, partial(_weights, case))
    trajectory = technique.prepare(asked, context)
    found = {
        "latents_start": trajectory.latents,
        "pooled_prompt_embeds": trajectory.positive.added["pooled"],
        "prompt_embeds": trajectory.positive.text,
        **_beside(trajectory.positive.added),
    }
    steps = carry(technique, trajectory, context)
    return {
        **found,
        **_encoded(case, asked, context),
        **_canvas(asked),
        "sigmas": trajectory.scheduler._flow.sigmas,
        "latents_step1": steps[1],
        "latents": trajectory.latents,
        "decoded": context.backbone.decode(trajectory.latents),
    }


def _map(case: Case, lab: Lab) -> Mapping[str, Tensor]:
    picture = case.picture("content_image")
    assert picture is not None
    size = case.facts["width"], case.facts["height"]
    squashed = picture.resize(size, Image.Resampling.LANCZOS)
    if case.variant == "canny-map":
        edges = control_maps.canny(squashed, case.params["low_threshold"], case.params["high_threshold"])
        return {"control_image": torch.from_numpy(np.array(edges))}
    estimator = control_maps.get_depth_estimator(case.weights("depth_model"), lab.backbone(case))
    pixels = estimator.pixels(squashed)
    depth = estimator.depth(pixels)
    control = control_maps.depth_map(depth, *size, case.params["depth_range"])
    return {"pixel_values": pixels, "predicted_depth": depth, "control": control}


def sampled(case: Case) -> Encode:
    """Return an encoder of pictures that samples the posterior with the recorded noise, as diffusers does."""

    def encode(backbone: Flux, signed: Tensor, name: str) -> Tensor:
        posterior = backbone.vae.encode(signed).latent_dist
        return backbone.scaled(posterior.mean + posterior.std * case.inputs[f"{name}_noise"])

    return encode


def _inputs(case: Case) -> GenerationInputs:
    asked = inputs(
        case,
        _params(case),
        {"initial": case.inputs["latents"]},
        strength=_strength(case),
        style_weights=tuple(case.params.get("style_weights", ())),
        width=case.params.get("target_width", case.facts["width"]),
    )
    return replace(asked, pictures=replace(asked.pictures, mask=case.picture("mask_image")))


def _params(case: Case) -> Params:
    _, kind = TECHNIQUES[case.variant]
    known = {name: value for name, value in case.params.items() if name in kind.model_fields and value is not None}
    beside: dict[str, Any] = {"downsampling_factor": 1, "overlap": 0}
    if "control_lora_scale" in case.params:
        beside["control_scale"] = case.params["control_lora_scale"]
    if case.variant == "image-to-image":
        beside["content_strength"] = case.params["strength"]
    return kind(**{name: value for name, value in beside.items() if name in kind.model_fields} | known)


def _strength(case: Case) -> float:
    if case.variant in ("fill", "outpaint"):
        return float(case.params["strength"])
    return math.sqrt(max(case.params.get("style_strengths", [1.0]))) if case.has_weights("redux") else 0.0


def _weights(case: Case, model: str) -> Path:
    return case.weights("control_lora" if model.endswith("-lora") else "redux")


def _beside(added: Mapping[str, Tensor]) -> dict[str, Tensor]:
    if CHANNELS not in added:
        return {}
    if added[CHANNELS].shape[1] == LATENT_CHANNELS:
        return {"control_latents": added[CHANNELS]}
    kept, cells = added[CHANNELS].split([LATENT_CHANNELS, 64], dim=1)
    return {"masked_image_latents": kept, "mask_packed": pack(cells).to(torch.uint8)}


def _canvas(asked: GenerationInputs) -> dict[str, Tensor]:
    if isinstance(asked.params, FillParams):
        drawn = canvas.filled(asked, asked.params.left, asked.params.top, asked.params.overlap)
    elif isinstance(asked.params, ReduxFillParams):
        drawn = canvas.diptych(asked)
    else:
        return {}
    return {"canvas": torch.from_numpy(np.array(drawn.picture)), "mask": torch.from_numpy(np.array(drawn.mask))}


def _encoded(case: Case, asked: GenerationInputs, context: PrepareContext) -> dict[str, Tensor]:
    if not case.has_weights("redux"):
        return {}
    tokens = style_tokens(asked, context) if isinstance(asked.params, ReduxFillParams) else None
    joined = torch.cat(reference_tokens(asked, context)) if tokens is None else tokens
    encoder = redux_tokens.get_encoder(context)
    pixels = encoder.pixels(case.styles[0], "squash")
    return {"pixel_values": pixels, "image_hidden": encoder.patches(pixels), "redux_tokens": joined[None]}
