"""Parity of FLUX.1: cases as calls of redux."""

import math
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from tests.parity.case import Case
from tests.parity.lab import Lab, carry, inputs
from workers.engine.backbones.pipeline import PipelineBackbone
from workers.engine.technique import PrepareContext
from workers.techniques.encoder.redux import tokens
from workers.techniques.encoder.redux.spec import ReduxParams
from workers.techniques.encoder.redux.technique import Encode, Redux

VARIANTS = {"text": "redux", "redux": "redux", "image-to-image": "redux"}


def technique_of(case: Case) -> str:
    """Return the registered technique of a case."""
    return VARIANTS.get(case.variant, case.variant)


def run(case: Case, lab: Lab) -> Mapping[str, Tensor]:
    """Return every tensor of a case that we can compute, by its recorded name."""
    params = _params(case)
    asked = inputs(
        case,
        params,
        {"initial": case.inputs["latents"]},
        strength=_strength(case),
        style_weights=tuple(case.params.get("style_weights", ())),
    )
    context = lab.context(case, lambda model: case.weights("redux"))
    technique = Redux(encode=sampled(case))
    trajectory = technique.prepare(asked, context)
    found = {"latents_start": trajectory.latents, "pooled_prompt_embeds": trajectory.positive.added["pooled"]}
    steps = carry(technique, trajectory, context)
    if trajectory.extra is None:
        found["prompt_embeds"] = trajectory.positive.text
    else:
        begin = trajectory.extra.spans[0].start
        found["redux_tokens"] = trajectory.positive.text[:, begin:]
    return {
        **found,
        **_encoded(case, context),
        "sigmas": trajectory.scheduler._flow.sigmas,
        "latents_step1": steps[1],
        "latents": trajectory.latents,
        "decoded": context.backbone.decode(trajectory.latents),
    }


def sampled(case: Case) -> Encode:
    """Return an encoder of pictures that samples the posterior with the recorded noise, as diffusers does."""

    def encode(backbone: PipelineBackbone, signed: Tensor) -> Tensor:
        posterior = backbone.vae.encode(signed).latent_dist
        return backbone.scaled(posterior.mean + posterior.std * case.inputs["image_noise"])

    return encode


def _strength(case: Case) -> float:
    if not (case.has_weights("redux")):
        return 0.0
    return math.sqrt(max(case.params.get("style_strengths", [1.0])))


def _params(case: Case) -> ReduxParams:
    known = {name: value for name, value in case.params.items() if name in ReduxParams.model_fields}
    given: dict[str, Any] = {"downsampling_factor": 1, **{n: value for n, value in known.items() if value is not None}}
    if "strength" in case.params:
        given["content_strength"] = case.params["strength"]
    return ReduxParams(**given)


def _encoded(case: Case, context: PrepareContext) -> dict[str, Tensor]:
    if not case.has_weights("redux"):
        return {}
    encoder = tokens.get_encoder(context)
    pixels = encoder.pixels(case.styles[0], "squash")
    return {"pixel_values": pixels, "image_hidden": encoder.patches(pixels)}
