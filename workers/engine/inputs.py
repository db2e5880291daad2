"""From the request in a job to the inputs that a technique understands."""

import json
from collections.abc import Iterator
from dataclasses import replace

from pydantic import ValidationError

from model_store.catalogue.entry import Base
from workers.contract.jobs.models import GenerationRequest, StylizeRequest
from workers.contract.spec import Params, Spec
from workers.engine.backbones.base import Backbone
from workers.engine.errors import Refused
from workers.engine.noise import SeededNoise
from workers.engine.technique import GenerationInputs
from workers.engine.types import Pictures


def generation_inputs(request: GenerationRequest, pictures: Pictures, spec: Spec, base: Base) -> GenerationInputs:
    """Return what a technique gets of a request and its decoded pictures.

    Picture i has the seed `request.seed + i`. To precompute a style takes no prompt and no content image.
    Raises Refused when the technique cannot do this on the base model, or an input is missing; the gateway has refused
    the same before, from the same spec.
    """
    if base not in spec.bases:
        raise Refused(f"{spec.name} runs on {', '.join(spec.bases)}, not on {base}")
    params = validated(spec, request)
    least, most = spec.inputs.references
    instead = spec.inputs.instead_of_references
    if not least <= len(pictures.styles) <= most and not (instead and getattr(params, instead) is not None):
        raise Refused(f"{spec.name} takes {least} to {most} style images, not {len(pictures.styles)}")
    prompt = negative_prompt = ""
    if isinstance(request, StylizeRequest):
        prompt, negative_prompt = request.prompt, request.negative_prompt
        if spec.inputs.content_image == "required" and pictures.content is None:
            raise Refused(f"{spec.name} needs a content_image")
    seeds = tuple(request.seed + i for i in range(request.batch_size))
    return GenerationInputs(
        prompts=(prompt,) * len(seeds),
        seeds=seeds,
        width=request.width,
        height=request.height,
        steps=request.steps,
        guidance_scale=request.guidance_scale,
        params=params,
        noise=SeededNoise(seeds),
        strength=request.strength,
        negative_prompt=negative_prompt or None,
        pictures=pictures,
        style_weights=request.style_weights,
    )


def validated(spec: Spec, request: GenerationRequest) -> Params:
    """Return the request's parameters as the technique's own class, as JSON validates them. Raises Refused."""
    try:
        return spec.params.model_validate_json(json.dumps(request.params))
    except ValidationError as invalid:
        faults = "; ".join(f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in invalid.errors())
        raise Refused(f"params of {spec.name}: {faults}") from invalid


def unread_texts(inputs: GenerationInputs, backbone: Backbone) -> tuple[str, ...]:
    """Return a sentence for each text of a request that is longer than what the base model's text encoders read."""
    most = getattr(inputs.params, "max_sequence_length", None)
    return tuple(
        f"{name} is longer than the {tokens} tokens that a text encoder of {backbone.name} reads; not read: {rest}"
        for name, text in _texts(inputs)
        for rest, tokens in backbone.unread(text, most).items()
    )


def _texts(inputs: GenerationInputs) -> Iterator[tuple[str, str]]:
    """Yield the texts of a request that are encoded, by the names of their fields."""
    yield from (("prompt", text) for text in dict.fromkeys(inputs.prompts))
    yield "negative_prompt", inputs.negative_prompt or ""
    for name, value in inputs.params:
        if name.endswith("prompt") and isinstance(value, str):
            yield f"params.{name}", value


def pieces(inputs: GenerationInputs, most: int) -> list[GenerationInputs]:
    """Return inputs as smaller ones of at most so many pictures each."""
    return [_some(inputs, slice(first, first + most)) for first in range(0, len(inputs.seeds), most)]


def _some(inputs: GenerationInputs, rows: slice) -> GenerationInputs:
    seeds = inputs.seeds[rows]
    return replace(inputs, prompts=inputs.prompts[rows], seeds=seeds, noise=SeededNoise(seeds))


def reduced_weights(backbone: Backbone) -> tuple[str, ...]:
    """Return a sentence for a base model whose weights are not kept in full."""
    if backbone.weight_storage == "full":
        return ()
    return (f"{backbone.name}'s weights are kept as {backbone.weight_storage}: full ones give slightly other pictures",)
