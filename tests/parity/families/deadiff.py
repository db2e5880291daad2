"""Parity of DEADiff: the authors' checkpoint converted as an installation does it, and the cases run on it."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tests.parity.case import Case
from tests.parity.converted import converted
from tests.parity.lab import Lab, carry, inputs
from workers.engine.backbones.patches import forward_hook
from workers.engine.technique import PrepareContext
from workers.techniques.encoder.deadiff import reader, style
from workers.techniques.encoder.deadiff.checkpoint import DeadiffCheckpoint, find_checkpoint
from workers.techniques.encoder.deadiff.dims import FILE
from workers.techniques.encoder.deadiff.math import Side
from workers.techniques.encoder.deadiff.spec import DeadiffParams
from workers.techniques.encoder.deadiff.technique import Deadiff

OBSERVED = {
    "attn_down0_0": "down_blocks.0.attentions.0.transformer_blocks.0.attn2",
    "attn_mid": "mid_block.attentions.0.transformer_blocks.0.attn2",
}


def technique_of(case: Case) -> str:
    """Return the technique that a case is of."""
    return case.family


def run(case: Case, lab: Lab) -> Mapping[str, Tensor]:
    """Return every tensor of a case that we can compute, by its recorded name."""
    technique, params = Deadiff(), params_of(case)
    folder = installed(case.weights("checkpoint"), case.weights("dims") if case.has_weights("dims") else None)
    context = lab.context(case, lambda model: folder)
    trajectory = technique.prepare(inputs(case, params, {"initial": case.inputs["latents"]}), context)
    text = {"text_tokens": trajectory.positive.text}
    if trajectory.negative is not None:
        text["text_tokens_negative"] = trajectory.negative.text
    with observed(context.backbone.denoiser) as seen:
        steps = carry(technique, trajectory, context)
    latents = {"latents_after_step_1": steps[1], "latents": trajectory.latents}
    return {**_intermediates(case, params, find_checkpoint(context), context), **text, **seen, **latents}


def params_of(case: Case) -> DeadiffParams:
    """Return a case's parameters; the reference samples at the timesteps of its own DDIM."""
    ours = {"sampler": case.facts["scheduler"], "schedule": "ldm" if case.facts["scheduler"] == "ddim" else "even"}
    return DeadiffParams.model_validate(ours | case.params)


def installed(source: Path, dims: Path | None) -> Path:
    """Return a folder as `stylize models pull deadiff` leaves it."""
    return converted(source, "deadiff", {} if dims is None else {FILE: dims}).parent


@contextmanager
def observed(unet: Any) -> Iterator[dict[str, Tensor]]:
    """Give what goes through two attentions, and comes out of the UNet, in the first step."""
    seen: dict[str, Tensor] = {}

    def note(name: str) -> Any:
        def hook(module: Any, args: Any, kwargs: Any, output: Any) -> None:
            seen.setdefault(f"{name}_in", args[0] if args else kwargs["hidden_states"])
            seen.setdefault(f"{name}_out", output)

        return hook

    def first(module: Any, args: Any, kwargs: Any, output: Any) -> None:
        seen.setdefault("unet_first_step", output[0])

    with ExitStack() as hooks:
        for name, layer in OBSERVED.items():
            hooks.enter_context(forward_hook(unet.get_submodule(layer), note(name)))
        hooks.enter_context(forward_hook(unet, first))
        yield seen


def _intermediates(
    case: Case, params: DeadiffParams, found: DeadiffCheckpoint, context: PrepareContext
) -> dict[str, Tensor]:
    sides = style.SIDES[params.subject_text]
    [image], first = case.styles, reader.get_or_load(sides[0], found, context.backbone)
    pixels = first.pixels(image)
    features = first.features(pixels)

    def tokens(side: Side) -> Tensor:
        if side not in sides:
            return torch.zeros(1, found.dims.num_query_tokens, found.dims.qformer.hidden_size)
        return reader.get_or_load(side, found, context.backbone).tokens(image)[None]

    return {
        "pixel_values_corner": pixels[..., :8, :8],
        "vision_features": features,
        "qformer_output": first.answers(features),
        "image_tokens_style": tokens("style"),
        "image_tokens_content": tokens("content"),
    }
