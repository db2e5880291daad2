"""Parity of FLUX.2 [klein]: cases as calls of flux2-edit."""

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor

from tests.parity.case import Case
from tests.parity.lab import Lab, carry, inputs
from workers.engine.backbones.flux2 import Flux2, reference_tokens
from workers.engine.technique import GenerationInputs, PrepareContext
from workers.techniques.edit.flux2_edit.pictures import reference_pictures
from workers.techniques.edit.flux2_edit.spec import Flux2EditParams
from workers.techniques.edit.flux2_edit.technique import TECHNIQUE

SHOWN = 64
"""Tokens of the text that a case records."""
CACHED = "references-kv"


def technique_of(case: Case) -> str:
    """Return the registered technique of a case."""
    return TECHNIQUE.spec.name


def run(case: Case, lab: Lab) -> Mapping[str, Tensor]:
    """Return every tensor of a case that we can compute, by its recorded name."""
    context = _context(case, lab)
    backbone = context.backbone
    assert isinstance(backbone, Flux2)
    asked = _inputs(case)
    trajectory = TECHNIQUE.prepare(asked, context)
    steps = carry(TECHNIQUE, trajectory, context)
    found = {
        "prompt_embeds_first_64": trajectory.positive.text[:, :SHOWN],
        "sigmas": trajectory.scheduler._flow.sigmas,
        "latents_step1": steps[1],
        "latents": trajectory.latents,
        "vae_latents": backbone.unscaled(trajectory.latents),
    }
    seen = [each.latents(context) for each in reference_pictures(asked, 1024, backbone)]
    return found | ({"reference_tokens": reference_tokens(seen)[0]} if seen else {})


def _context(case: Case, lab: Lab) -> PrepareContext:
    """Return a context whose model is distilled or not as the case says; the tiny folder holds a distilled one."""
    context = lab.context(case)
    backbone = context.backbone
    if case.params["is_distilled"]:
        return context
    assert isinstance(backbone, Flux2)
    base = Flux2(
        backbone.pipe,
        name=backbone.name,
        base="flux2-klein-base",
        fingerprint=backbone.fingerprint,
        dtype=torch.float32,
    )
    return replace(context, backbone=base)


def _inputs(case: Case) -> GenerationInputs:
    params = Flux2EditParams(
        template="{prompt}",
        reference_keys="cached" if case.variant == CACHED else "auto",
        max_sequence_length=case.params["max_sequence_length"],
    )
    return inputs(case, params, {"initial": case.inputs["latents"]})
