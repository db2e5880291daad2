"""Parity of the shared-attention family: cases as calls of style-aligned.

The recordings hold the reference as entry 0; here it is run alone (or jointly, under full_attention_share), so its rows
are put in front of the request's own.
"""

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from tests.parity.case import Case
from tests.parity.lab import Lab, inputs
from workers.engine.backbones import patches
from workers.engine.denoise import Trajectory, denoise
from workers.engine.technique import GenerationInputs, PrepareContext
from workers.techniques.shared_attention.style_aligned import inversion
from workers.techniques.shared_attention.style_aligned.inversion import INVERTED
from workers.techniques.shared_attention.style_aligned.roles import follower
from workers.techniques.shared_attention.style_aligned.spec import StyleAlignedParams
from workers.techniques.shared_attention.style_aligned.technique import StyleAligned

Seen = tuple[Tensor, Tensor]
WATCHED = "mid_block.attentions.0.transformer_blocks.0.attn1"
ELSEWHERE = ("num_images_per_prompt",)


def technique_of(case: Case) -> str:
    """Return the technique that a case is about."""
    return "style-aligned"


def run(case: Case, lab: Lab) -> Mapping[str, Tensor]:
    """Return every tensor of a case by its recorded name."""
    context = lab.context(case, weights=lambda _: case.weights("controlnet"))
    params, asked = _asked(case)
    found: dict[str, Tensor] = {}
    if asked.pictures.styles:
        cold = lab.context(case, weights=lambda _: case.weights("controlnet"))
        found[INVERTED] = inversion.inverted(asked, params, cold)
        if INVERTED in case.facts["compare"].get("given", ()):
            context = replace(context, cache=Given(context.cache, case.inputs[INVERTED]))
    latents, seen = _carried(case, asked, context)
    found |= {f"latents_after_step_{step}": rows for step, rows in enumerate(latents)}
    found["latents"] = latents[-1]
    found |= _in_recorded_order(seen, asked)
    plain, _ = _carried(case, replace(asked, strength=0.0), context)
    found["latents_without_technique"] = torch.cat([latents[-1][:1], plain[-1]])
    return found


class Given:
    """A style cache that already holds the recorded inversion."""

    def __init__(self, cache: Any, latents: Tensor) -> None:
        self._cache = cache
        self._latents = latents

    def get(self, key: str, build: Callable[[], Mapping[str, Tensor]]) -> Mapping[str, Tensor]:
        """Return the recorded inversion in place of our own; features are built from it."""
        if build.__qualname__.startswith(inversion.inverted.__qualname__):
            return {INVERTED: self._latents}
        return self._cache.get(key, build)

    def device_for(self, size: int) -> torch.device | None:
        """Return where values are kept."""
        return self._cache.device_for(size)


def _asked(case: Case) -> tuple[StyleAlignedParams, GenerationInputs]:
    given: dict[str, Any] = {name: value for name, value in case.params.items() if name not in ELSEWHERE}
    if "inversion_time_ids" in given:
        given["inversion_time_ids"] = tuple(given["inversion_time_ids"])
    if "control_image" in case.inputs:
        given["control"] = "canny"
    params = StyleAlignedParams(**given)
    prompts = tuple(p for p in case.prompts for _ in range(case.params.get("num_images_per_prompt", 1)))
    return params, inputs(case, params, {"initial": case.inputs["latents"][1:]}, prompts=prompts)


def _carried(case: Case, asked: GenerationInputs, context: PrepareContext) -> tuple[list[Tensor], list[Seen]]:
    """Return the latents before the first and after each step, and the watched layer's tokens at each call."""
    alone: list[Tensor] = []
    rows: list[Tensor] = []
    seen: list[Seen] = []

    def look(trajectory: Trajectory) -> None:
        joint = follower(trajectory).joint_reference
        leads = [joint.latents] if joint is not None else alone[len(rows) :][:1]
        rows.append(torch.cat([*leads, trajectory.latents]))

    technique = StyleAligned(draw=lambda seed, shape: case.inputs["latents"][:1])
    with ExitStack() as stack:
        watched = context.backbone.denoiser.get_submodule(WATCHED)
        stack.enter_context(patches.forward_hook(watched, lambda m, args, kw, out: seen.append((args[0], out))))
        trajectory = technique.prepare(asked, replace(context, watch=lambda t: alone.append(t.latents.clone())))
        hooks = stack.enter_context(technique.patch(context.backbone, [trajectory]))
        denoise(context.backbone.predict, [trajectory], hooks=hooks, watch=look)
    return rows, seen


def _in_recorded_order(seen: list[Seen], asked: GenerationInputs) -> dict[str, Tensor]:
    """Return the first step's tokens with each half's reference in front."""
    first, own = seen[0], seen[-asked.steps]
    n = len(asked.seeds)
    found: dict[str, Tensor] = {}
    for name, lead, tokens in zip(("attn1_input", "attn1_output"), first, own, strict=True):
        references = tokens[2 * n :] if len(tokens) > 2 * n else lead
        halves = zip(references[:2], tokens[: 2 * n].split(n), strict=True)
        found[name] = torch.cat([torch.cat([one[None], half]) for one, half in halves])
    return found
