"""Parity of the encoder family: cases as calls of ip-adapter, instantstyle and instantstyle-plus."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from tests.parity.case import Case
from tests.parity.converted import converted
from tests.parity.families import instantstyle_plus
from tests.parity.lab import Lab, carry, inputs
from workers.engine.errors import WeightsMissing
from workers.engine.technique import GenerationInputs, PrepareContext, Technique
from workers.techniques.encoder import adapter, clip, content, image_prompt
from workers.techniques.encoder.adapter import Adapter
from workers.techniques.encoder.instantstyle.spec import InstantStyleParams
from workers.techniques.encoder.instantstyle.technique import InstantStyle, subtraction
from workers.techniques.encoder.ip_adapter.spec import IPAdapterParams
from workers.techniques.encoder.ip_adapter.technique import IPAdapter
from workers.techniques.encoder.params import EncoderParams
from workers.techniques.encoder.weights import adapter_files

TECHNIQUES: dict[str, tuple[Technique, type[EncoderParams]]] = {
    "ip-adapter": (IPAdapter(), IPAdapterParams),
    "ip-adapter-plus": (IPAdapter(), IPAdapterParams),
    "instantstyle": (InstantStyle(), InstantStyleParams),
}


def technique_of(case: Case) -> str:
    """Return the technique that a case is of."""
    return TECHNIQUES[case.variant][0].spec.name if case.variant in TECHNIQUES else case.variant


def run(case: Case, lab: Lab) -> Mapping[str, Tensor]:
    """Return every tensor of a case that we can compute, by its recorded name."""
    if case.variant == "instantstyle-plus":
        return instantstyle_plus.run(case, lab)
    technique, kind = TECHNIQUES[case.variant]
    params = kind.model_validate(
        {name: v for name, v in _knobs(case).items() if name in kind.model_fields}, strict=False
    )
    asked = inputs(case, params, {"initial": case.inputs["latents"]})
    context = lab.context(case, lambda model: _installed(case, model))
    trajectory = technique.prepare(asked, context)
    steps = carry(technique, trajectory, context)
    return {**_intermediates(asked, params, context), "latents_step1": steps[1], "latents": trajectory.latents}


def _intermediates(asked: GenerationInputs, params: EncoderParams, context: PrepareContext) -> dict[str, Tensor]:
    found = adapter.get_or_load(adapter_files(params.adapter, context), context.backbone)
    refs = image_prompt.references(asked, params)
    tower = clip.get_image_encoder(found.files, context.backbone)
    edit = subtraction(params, found, context) if isinstance(params, InstantStyleParams) else None
    return {
        "pixel_values": tower.pixels(refs.images, params.fit),
        "clip_image_embeds" if found.kind == "base" else "clip_hidden": image_prompt.features(refs, found, context),
        "image_tokens": image_prompt.tokens(refs, found, context, edit)[None],
        "uncond_image_tokens": image_prompt.unconditional_tokens(found, context).repeat(refs.groups, 1)[None],
        **_content(params, found, context),
    }


def _content(params: EncoderParams, found: Adapter, context: PrepareContext) -> dict[str, Tensor]:
    if not isinstance(params, InstantStyleParams) or not params.neg_content_prompt:
        return {}
    return {"content_text_embeds": content.text_source(found, context).embedding(params.neg_content_prompt, context)}


def _knobs(case: Case) -> dict[str, Any]:
    """Return a case's parameters by our names; what it leaves out is as the projects' functions have it."""
    plus = "plus" in case.weights("ip_adapter").name
    assumed = {"neg_content_scale": 1.0} if case.params.get("neg_content_prompt") else {}
    return {"sampler": case.facts["scheduler"], **assumed, **case.params, "adapter": "plus" if plus else "base"}


def _installed(case: Case, model: str) -> Path:
    """Return a case's file for a catalogue id."""
    texts = [name for name, path in case.facts["extra_weights"].items() if "text" in name or "text" in path]
    names = {"ip-adapter": "ip_adapter", "clip-vit": "image_encoder"}
    if model.endswith("-text"):
        if not texts:
            raise WeightsMissing(model)
        return case.weights(texts[0])
    found = case.weights(next(name for prefix, name in names.items() if model.startswith(prefix)))
    return converted(found, "ip-adapter") if model.startswith("ip-adapter") else found
