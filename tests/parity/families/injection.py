"""Parity of the injection family: cases as calls of style-id."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from torch import Tensor

from tests.parity.case import Case
from tests.parity.lab import Lab, carry, inputs
from workers.engine.denoise import Trajectory
from workers.techniques.injection.style_id import sizes
from workers.techniques.injection.style_id.spec import StyleIdParams
from workers.techniques.injection.style_id.technique import StyleId

PUBLISHED = 0.5
"""The strength at which the published method runs with the parameters as they are."""
KNOBS = set(StyleIdParams.model_fields) - {"fit"}


def technique_of(case: Case) -> str:
    """Return the registered technique of a case."""
    return "style-id"


def run(case: Case, lab: Lab) -> Mapping[str, Tensor]:
    """Return every tensor of a case that we can compute, by its recorded name."""
    inversions: dict[Trajectory, list[Tensor]] = {}

    def watch(trajectory: Trajectory) -> None:
        inversions.setdefault(trajectory, []).append(trajectory.latents.clone())

    context = replace(lab.context(case), watch=watch)
    technique = StyleId(sizes.own)
    trajectory = technique.prepare(inputs(case, params(case), {}, strength=PUBLISHED), context)
    style, content = inversions.values()
    steps = carry(technique, trajectory, context)
    return {
        "style_latents": style[0],
        "content_latents": content[0],
        "style_inverted_step1": style[1],
        "content_inverted_step1": content[1],
        "style_inverted": style[-1],
        "content_inverted": content[-1],
        "init_latents": steps[0],
        "latents_step1": steps[1],
        "latents": trajectory.latents,
    }


def params(case: Case) -> StyleIdParams:
    """Return a case's parameters; `injection_modules` repeats `injection_layers` by name."""
    given: dict[str, Any] = {name: value for name, value in case.params.items() if name in KNOBS}
    if "injection_layers" in given:
        given["injection_layers"] = tuple(given["injection_layers"])
    if given.get("schedule") != "ldm":
        given.pop("start_step", None)
    return StyleIdParams(**given)
