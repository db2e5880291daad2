"""StyleID: style and content are inverted, then the content is painted again with the style's keys and values.

Feature memory: K and V of the style are 0.42 GB (16 bit, 512 px, 20 steps, five layers), the queries half of that. All
goes through the style cache and its byte budgets, and is read from any of its tiers, a layer and step at a time.
"""

from collections.abc import Hashable, Iterator, Sequence
from contextlib import contextmanager

from torch import Tensor

from workers.engine.backbones.base import Backbone
from workers.engine.cache.tiers import Tensors
from workers.engine.conditioning import Condition
from workers.engine.denoise import Hooks, Trajectory
from workers.engine.errors import Refused
from workers.engine.images import cover
from workers.engine.technique import GenerationInputs, PrepareContext, check_size, params_as
from workers.techniques.injection.style_id import inversion, layers, math, schedule, sizes
from workers.techniques.injection.style_id.attention import hooked_attention
from workers.techniques.injection.style_id.injection import Injection, Injector
from workers.techniques.injection.style_id.inversion import InversionConfig, InvertedImage
from workers.techniques.injection.style_id.sizes import Size, Sizing
from workers.techniques.injection.style_id.spec import SPEC, StyleIdParams


class StyleId:
    """The technique; stateless. `sizing` decides how large the pictures are."""

    spec = SPEC

    def __init__(self, sizing: Sizing = sizes.fitted) -> None:
        self._sizing = sizing

    def batch_key(self, inputs: GenerationInputs, backbone: Backbone) -> Hashable | None:
        """Batches with every request whose result has the same size, whatever the pictures, steps and parameters."""
        if not inputs.pictures.styles or inputs.pictures.content is None:
            return None
        return backbone.name, self._sizing(inputs, backbone.size_multiple).content

    def prepare(self, inputs: GenerationInputs, context: PrepareContext) -> Trajectory:
        """Return the content's inverted latents, with the style's statistics, and what to inject.

        Raises Refused when a picture is missing or of a size, or a layer not among those, that the model has.
        """
        params, backbone = params_as(inputs, StyleIdParams), context.backbone
        style, content = self._pictures(inputs, backbone)
        config = inversion_config(inputs, params, backbone)
        scheduler = schedule.sampling(params.schedule, config.scheduler_config, inputs.steps, params.start_step)
        share = math.injected_share(inputs.strength)
        if share == 0:
            z, injection = inversion.features_of(content, config, context)["z"], None
        else:
            kept_style, kept_content = inversion.features_of_both(style, content, config, context)
            z = initial_latents(kept_content["z"], kept_style["z"], params, share)
            injection = injection_of(inputs, params, config, kept_style, kept_content)
        positive, negative = conditions(inputs, backbone, content.image.size)
        return Trajectory(
            latents=z.to(backbone.device).repeat(len(inputs.seeds), 1, 1, 1),
            scheduler=scheduler,
            positive=positive,
            negative=negative,
            guidance_scale=inputs.guidance_scale,
            seeds=inputs.seeds,
            extra=injection,
        )

    def prepare_style(self, inputs: GenerationInputs, context: PrepareContext) -> None:
        """Invert the style picture for content pictures in the proportions of width x height. Raises as `prepare`."""
        params, backbone, size = params_as(inputs, StyleIdParams), context.backbone, (inputs.width, inputs.height)
        if len(inputs.pictures.styles) != 1:
            raise Refused("style-id needs one style image")
        check_size(inputs, backbone)
        inversion.features_of(
            InvertedImage("style", cover(inputs.pictures.styles[0], *size)),
            inversion_config(inputs, params, backbone),
            context,
        )

    def _pictures(self, inputs: GenerationInputs, backbone: Backbone) -> tuple[InvertedImage, InvertedImage]:
        pictures = inputs.pictures
        if len(pictures.styles) != 1 or pictures.content is None:
            raise Refused("style-id needs one style image and a content_image")
        size, multiple = self._sizing(inputs, backbone.size_multiple), backbone.size_multiple
        if any(side % multiple for side in (*size.style, *size.content)):
            raise Refused(f"width and height must be multiples of {multiple} on {backbone.name}")
        style, content = cover(pictures.styles[0], *size.style), cover(pictures.content, *size.content)
        return InvertedImage("style", style), InvertedImage("content", content)

    @contextmanager
    def patch(self, backbone: Backbone, trajectories: Sequence[Trajectory]) -> Iterator[Hooks]:
        """Inject into the layers that any of the trajectories wants, each into its own rows."""
        injections = [trajectory.extra for trajectory in trajectories if trajectory.extra is not None]
        wanted = dict.fromkeys(layer for injection in injections for layer in injection.layers)
        injector = Injector()
        with hooked_attention(backbone.denoiser, wanted, injector):
            yield injector


def inversion_config(inputs: GenerationInputs, params: StyleIdParams, backbone: Backbone) -> InversionConfig:
    """Return how the request's pictures are inverted. Raises Refused for layers that the model does not have."""
    return InversionConfig(
        backbone=backbone,
        schedule=params.schedule,
        scheduler_config=schedule.configuration(backbone.scheduler_config, inputs.scheduler_config),
        steps=inputs.steps,
        prompt=params.inversion_prompt,
        guidance_scale=params.inversion_guidance_scale,
        layers=layers.chosen(backbone.denoiser, params.layers(backbone.base)),
    )


def initial_latents(z_c: Tensor, z_s: Tensor, params: StyleIdParams, share: float) -> Tensor:
    """Return the starting latents (1, C, h, w): the content's, moved to the style's statistics by `share`."""
    if not params.init_adain:
        return z_c
    z = math.initial_latent_adain(z_c, z_s.to(z_c.device), params.eps())
    return z if share == 1 else z_c + share * (z - z_c)


def injection_of(
    inputs: GenerationInputs, params: StyleIdParams, config: InversionConfig, style: Tensors, content: Tensors
) -> Injection:
    """Return what the request injects, and how strongly."""
    ascending = schedule.inverse(config.schedule, config.scheduler_config, config.steps).timesteps.tolist()
    return Injection(
        style=style,
        content=content,
        layers=config.layers,
        at={t: index for index, t in enumerate(ascending)},
        gamma=math.preservation(inputs.strength, params.gamma),
        temperature=params.temperature,
        share=math.injected_share(inputs.strength),
    )


def conditions(inputs: GenerationInputs, backbone: Backbone, size: Size) -> tuple[Condition, Condition | None]:
    """Return the text of the generation. Without any text there is nothing to guide towards, and no second half."""
    spoken = any(text.strip() for text in (*inputs.prompts, inputs.negative_prompt or ""))
    guided = spoken and inputs.guidance_scale != 1
    width, height = size
    return backbone.condition(inputs.prompts, inputs.negative_prompt, guided=guided, width=width, height=height)


TECHNIQUE = StyleId()
