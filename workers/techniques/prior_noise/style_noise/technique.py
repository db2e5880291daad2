"""Style noise: the starting noise of a trained style, and its tuned weights while it is denoised."""

from collections.abc import Hashable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from workers.engine import schedulers
from workers.engine.backbones import patches
from workers.engine.backbones.base import Backbone
from workers.engine.denoise import Hooks, Trajectory
from workers.engine.errors import Refused
from workers.engine.noise import INITIAL
from workers.engine.technique import GenerationInputs, PrepareContext, params_as, text_to_image, text_to_image_batch_key
from workers.techniques.prior_noise.style_noise import math, style
from workers.techniques.prior_noise.style_noise.spec import SPEC, StyleNoiseParams
from workers.techniques.prior_noise.style_noise.style import NoiseStatistics

HOW_TO_TRAIN = (
    "style-noise needs a style trained for this model, named in params.style; from an untuned model its noise gives "
    "only blur. Train one from 10 to 50 pictures: python -m workers.training.style_noise "
    "--model FOLDER --images FOLDER --out FOLDER, then: stylize models add FOLDER ID. Without training, use signal-leak"
)


@dataclass(frozen=True)
class Tuning:
    """The weights a trajectory wants while it is denoised."""

    style: NoiseStatistics
    strength: float


class StyleNoise:
    """The technique; stateless."""

    spec = SPEC

    def batch_key(self, inputs: GenerationInputs, backbone: Backbone) -> Hashable | None:
        """Batches with requests for the same style and strength: they share the tuned weights."""
        return text_to_image_batch_key(inputs, backbone), params_as(inputs, StyleNoiseParams).style, inputs.strength

    def prepare(self, inputs: GenerationInputs, context: PrepareContext) -> Trajectory:
        """Return plain text-to-image from z_T = mu + sig e; plain exactly at strength 0. Raises Refused."""
        params = params_as(inputs, StyleNoiseParams)
        if params.style is None:
            raise Refused(HOW_TO_TRAIN)
        trajectory = text_to_image(inputs, context, sampler=params.sampler)
        if inputs.strength == 0:
            return trajectory
        backbone = context.backbone
        schedulers.require_noise_prediction(backbone.scheduler_config, SPEC.name, backbone.name)
        folder = context.weights(params.style)
        shape = backbone.latent_shape(inputs.width, inputs.height)
        found: NoiseStatistics = backbone.get_or_load(f"style-noise:{folder}", lambda: style.read(folder, backbone))
        style.checked(found, shape, params.style)
        mu, sig = math.between(found.mu, found.sig, inputs.strength)
        n = math.style_noise(mu, sig, inputs.noise.normal(INITIAL, shape))
        trajectory.latents = backbone.initial_latents(n, trajectory.scheduler)
        trajectory.extra = Tuning(found, inputs.strength)
        return trajectory

    @contextmanager
    def patch(self, backbone: Backbone, trajectories: Sequence[Trajectory]) -> Iterator[Hooks]:
        """Use the tuned weights, which all trajectories of a batch share."""
        tuning = trajectories[0].extra
        assert all(trajectory.extra == tuning for trajectory in trajectories), "styles mixed in one batch"
        deltas = {} if tuning is None else tuning.style.deltas
        with patches.weights(backbone.denoiser, deltas, scale=0.0 if tuning is None else tuning.strength):
            yield Hooks()


TECHNIQUE = StyleNoise()
