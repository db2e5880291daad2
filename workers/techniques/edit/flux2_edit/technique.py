"""FLUX.2 [klein] editing: the references' tokens stand behind the picture's. See spec.py for the parameters."""

from collections.abc import Hashable, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import ClassVar

from torch import Tensor

from workers.contract.spec import Spec
from workers.engine.backbones.base import Backbone
from workers.engine.backbones.flux2 import Flux2, with_references
from workers.engine.cache.style_cache import key_of
from workers.engine.denoise import Hooks, Trajectory
from workers.engine.images import digest
from workers.engine.noise import INITIAL
from workers.engine.technique import GenerationInputs, PrepareContext, check_size, params_as
from workers.techniques.edit.flux2_edit import attention
from workers.techniques.edit.flux2_edit.attention import SeenReferences
from workers.techniques.edit.flux2_edit.pictures import ReferencePicture, reference_pictures
from workers.techniques.edit.flux2_edit.prompts import told
from workers.techniques.edit.flux2_edit.spec import SPEC, Flux2EditParams


class Flux2Edit:
    """The technique; stateless."""

    spec: ClassVar[Spec] = SPEC

    def batch_key(self, inputs: GenerationInputs, backbone: Backbone) -> Hashable | None:
        """Batches with references of the same sizes and text of the same length on the same model and size."""
        params = params_as(inputs, Flux2EditParams)
        flux2 = flux2_of(backbone)
        references = reference_pictures(inputs, params.reference_size, flux2)
        sizes = tuple(each.size for each in references)
        weakened = any(each.factor != 1 for each in references)
        shape = (sizes, weakened, keeps_keys(params, flux2), params.max_sequence_length)
        return backbone.name, inputs.width, inputs.height, *shape

    def prepare(self, inputs: GenerationInputs, context: PrepareContext) -> Trajectory:
        """Return text-to-image that sees the pictures. Raises Refused for one that the model was not made for."""
        params, backbone = params_as(inputs, Flux2EditParams), flux2_of(context.backbone)
        references = reference_pictures(inputs, params.reference_size, backbone)
        trajectory = plain(inputs, params, backbone, references)
        latents = [each.latents(context) for each in references]
        kept = None
        if references and keeps_keys(params, backbone):
            kept = kept_keys(references, latents, context)
        else:
            trajectory.positive = with_references(trajectory.positive, latents)
            if trajectory.negative is not None:
                trajectory.negative = with_references(trajectory.negative, latents)
        tokens = tuple(each.shape[2] * each.shape[3] for each in latents)
        trajectory.extra = SeenReferences(tokens, tuple(each.factor for each in references), kept)
        return trajectory

    def prepare_style(self, inputs: GenerationInputs, context: PrepareContext) -> None:
        """Put into the cache the style images' latents, and what they give to attention where that is kept."""
        params, backbone = params_as(inputs, Flux2EditParams), flux2_of(context.backbone)
        styles = replace(inputs, pictures=replace(inputs.pictures, content=None))
        references = reference_pictures(styles, params.reference_size, backbone)
        latents = [each.latents(context) for each in references]
        if references and keeps_keys(params, backbone):
            kept_keys(references, latents, context)

    def patch(self, backbone: Backbone, trajectories: Sequence[Trajectory]) -> AbstractContextManager[Hooks]:
        """Weaken the attention to the style images, and take from the cache what is kept."""
        return attention.seeing(flux2_of(backbone), trajectories)


def flux2_of(backbone: Backbone) -> Flux2:
    """Return the backbone as what it is: the spec names no other architecture."""
    assert isinstance(backbone, Flux2)
    return backbone


def keeps_keys(params: Flux2EditParams, backbone: Flux2) -> bool:
    """Return whether the references' keys and values are computed once."""
    return params.reference_keys == "cached" or (params.reference_keys == "auto" and backbone.caches_references)


def plain(
    inputs: GenerationInputs, params: Flux2EditParams, backbone: Flux2, references: Sequence[ReferencePicture]
) -> Trajectory:
    """Return text-to-image from noise, its text in the template. A distilled model is run without guidance."""
    check_size(inputs, backbone)
    size = {"width": inputs.width, "height": inputs.height}
    styles = sum(each.of_style for each in references)
    content = len(references) > styles
    positive, negative = backbone.condition(
        [told(prompt, params.template, content=content, styles=styles) for prompt in inputs.prompts],
        inputs.negative_prompt,
        guided=inputs.guidance_scale > 1 and not backbone.distilled,
        text_tokens=params.max_sequence_length,
        **size,
    )
    scheduler = backbone.build_scheduler("euler", inputs.steps, config=inputs.scheduler_config, **size)
    noise = inputs.noise.normal(INITIAL, backbone.latent_shape(**size))
    latents = backbone.initial_latents(noise, scheduler)
    return Trajectory(latents, scheduler, positive, negative, inputs.guidance_scale, inputs.seeds)


def kept_keys(
    references: Sequence[ReferencePicture], latents: Sequence[Tensor], context: PrepareContext
) -> dict[str, Tensor]:
    """Return keys and values of a set of references by layer, from the style cache where they are there."""
    backbone = flux2_of(context.backbone)
    facts = {
        "what": "flux2 reference keys",
        "weights": backbone.fingerprint,
        "dtype": str(backbone.dtype),
        "images": [digest(each.image) for each in references],
    }
    kept = context.cache.get(key_of(**facts), lambda: attention.reference_keys(backbone, latents))
    return {name: tensor.to(backbone.device) for name, tensor in kept.items()}


TECHNIQUE = Flux2Edit()
