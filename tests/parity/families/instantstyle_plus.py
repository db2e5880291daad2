"""Parity of instantstyle-plus: inversion and generation, each checked on its own."""

from collections.abc import Mapping
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from tests.parity.case import Case
from tests.parity.converted import converted
from tests.parity.lab import Lab, carry, inputs
from workers.engine.technique import PrepareContext
from workers.techniques.encoder.instantstyle_plus import guidance, inversion
from workers.techniques.encoder.instantstyle_plus.inversion import RenoiseConfig, Rolls
from workers.techniques.encoder.instantstyle_plus.spec import InstantStylePlusParams
from workers.techniques.encoder.instantstyle_plus.technique import CONTROLNET, InstantStylePlus, renoise_config

GIVEN = "inverted_latents"
INSTALLED = {CONTROLNET: "controlnet", "clip-vit-h": "image_encoder", "clip-vit-bigg": "image_encoder", "csd": "csd"}


class RecordedRolls(Rolls):
    """Remembers the draws."""

    def __init__(self, generator: torch.Generator) -> None:
        super().__init__(generator)
        self.drawn: list[int] = []

    def __call__(self, bound: int) -> int:
        self.drawn.append(super().__call__(bound))
        return self.drawn[-1]


def run(case: Case, lab: Lab) -> Mapping[str, Tensor]:
    """Return every tensor of a case by its recorded name."""
    params = params_of(case)
    asked = inputs(case, params, {})
    context = lab.context(case, lambda model: _installed(case, model))
    [style], content = asked.pictures.styles, asked.pictures.content
    assert content is not None
    found = _inverted(content, asked.prompts[0], renoise_config(asked, params, context.backbone), context)
    start = case.inputs[GIVEN] if GIVEN in case.facts["compare"].get("given", ()) else found[GIVEN]
    technique = InstantStylePlus(lambda *_: start)
    trajectory = technique.prepare(asked, context)
    steps = carry(technique, trajectory, context)
    judge = guidance.descriptor(context)
    return {
        **found,
        "csd_style": guidance.described(style, judge, context, of_style=True)[0],
        "csd_content": guidance.described(content, judge, context, of_style=False)[1],
        "latents_step1": steps[1],
        "latents": trajectory.latents,
    }


def _inverted(content: Image.Image, prompt: str, config: RenoiseConfig, context: PrepareContext) -> dict[str, Tensor]:
    drawn: list[RecordedRolls] = []

    def rolls(generator: torch.Generator) -> Rolls:
        drawn.append(RecordedRolls(generator))
        return drawn[-1]

    begun = inversion.begin(content, prompt, config, context.backbone, rolls)
    seen: list[Tensor] = []
    watched = PrepareContext(context.backbone, context.cache, context.weights, lambda t: seen.append(t.latents.clone()))
    return {
        GIVEN: begun.run(watched),
        "content_latents": begun.z_0,
        "inversion_noise": begun.n,
        "inversion_rolls": torch.tensor(drawn[0].drawn),
        "inversion_trajectory": torch.cat(seen),
    }


def params_of(case: Case) -> InstantStylePlusParams:
    """Return a case's parameters by our names."""
    given = {name: value for name, value in case.params.items() if name in InstantStylePlusParams.model_fields}
    if "seed" in case.params:
        given["inversion_seed"] = case.params["seed"]
    plus = "plus" in case.weights("ip_adapter").name
    return InstantStylePlusParams(**given, adapter="plus" if plus else "vit-h")


def _installed(case: Case, model: str) -> Path:
    """Return a case's file for a catalogue id."""
    if model.startswith("ip-adapter"):
        return converted(case.weights("ip_adapter"), "ip-adapter")
    found = case.weights(INSTALLED[model])
    return converted(found, "csd") if model == "csd" else found
