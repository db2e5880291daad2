"""Parity of csgo: the authors' three tasks, with their released code's wiring and the paper's."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from tests.parity.case import Case
from tests.parity.converted import converted
from tests.parity.lab import Lab, carry, inputs
from workers.techniques.encoder.csgo import network, prompts
from workers.techniques.encoder.csgo.prompts import Role
from workers.techniques.encoder.csgo.spec import CSGOParams
from workers.techniques.encoder.csgo.technique import CSGO, content_of

INSTALLED = {
    "csgo": "adapter",
    "csgo-16": "adapter",
    network.CONTROLNET: "controlnet",
    "clip-vit-bigg": "image_encoder",
}


def technique_of(case: Case) -> str:
    """Return the technique that a case is of."""
    return "csgo"


def run(case: Case, lab: Lab) -> Mapping[str, Tensor]:
    """Return every tensor of a case by its recorded name."""
    params = params_of(case)
    asked = inputs(case, params, {"initial": case.inputs["latents"]})
    context = lab.context(case, lambda model: _installed(case, model))
    technique = CSGO()
    trajectory = technique.prepare(asked, context)
    steps = carry(technique, trajectory, context)
    own = network.get_or_load(network.csgo_files(params.num_style_tokens, context), context.backbone)
    pictures: dict[Role, Any] = {"style": asked.pictures.styles[0], "content": content_of(asked, params)}
    found = {"latents_after_step_1": steps[1], "latents": trajectory.latents}
    for role, image in pictures.items():
        found[f"{role}_tokens"] = prompts.tokens(role, image, own, context)[None]
        found[f"{role}_tokens_negative"] = prompts.tokens(role, None, own, context)[None]
    return found


def params_of(case: Case) -> CSGOParams:
    """Return a case's parameters; its file says how many tokens there are."""
    given = {name: value for name, value in case.params.items() if name in CSGOParams.model_fields}
    given.pop("num_style_tokens", None)
    given.setdefault("content_in_unet", case.variant == "paper")
    return CSGOParams(**given, sampler=case.facts["scheduler"])


def _installed(case: Case, model: str) -> Path:
    """Return a case's file for a catalogue id."""
    found = case.weights(INSTALLED[model])
    return converted(found, "csgo") if INSTALLED[model] == "adapter" else found
