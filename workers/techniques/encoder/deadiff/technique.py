"""DEADiff: cross-attention jointly over text and tokens of a picture's style, content or both. See spec.py, math.py."""

from collections.abc import Hashable, Sequence
from contextlib import AbstractContextManager
from typing import Any

import torch

from workers.engine import schedulers
from workers.engine.backbones.base import Backbone
from workers.engine.denoise import Hooks, Trajectory
from workers.engine.errors import Refused
from workers.engine.technique import GenerationInputs, PrepareContext, params_as, text_to_image, text_to_image_batch_key
from workers.techniques.encoder.deadiff import attention, own_weights, style
from workers.techniques.encoder.deadiff.attention import ShownImage
from workers.techniques.encoder.deadiff.checkpoint import DeadiffCheckpoint, find_checkpoint
from workers.techniques.encoder.deadiff.own_weights import OwnWeights
from workers.techniques.encoder.deadiff.spec import SPEC, DeadiffParams


class Deadiff:
    """The technique; stateless."""

    spec = SPEC

    def batch_key(self, inputs: GenerationInputs, backbone: Backbone) -> Hashable | None:
        """Batches on the same model, size and weights, whatever the pictures, modes and strengths; plain ones apart."""
        return text_to_image_batch_key(inputs, backbone), bool(inputs.strength) and params_as(
            inputs, DeadiffParams
        ).base_weights

    def prepare(self, inputs: GenerationInputs, context: PrepareContext) -> Trajectory:
        """Return text-to-image that sees the picture; plain exactly at strength 0.

        Raises WeightsMissing without the checkpoint, ModelUnusable for one of another layout, Refused for parameters
        that do not go together, and for a base model that does not predict noise as the checkpoint does.
        """
        params = params_as(inputs, DeadiffParams)
        if inputs.strength == 0:
            return scheduled(text_to_image(inputs, context, sampler=params.sampler), params)
        found = find_checkpoint(context)
        own = own_weights_of(params, found, context.backbone)
        with own.in_text_encoder(context.backbone):
            trajectory = scheduled(text_to_image(inputs, context, sampler=params.sampler), params)
        seen = style.keys_values(inputs, params.subject_text, found, context)
        trajectory.extra = ShownImage(
            keys_values={layer: both * params.img_weight for layer, both in seen.items()},
            tokens=found.dims.num_query_tokens,
            share=inputs.strength,
            own_weights=own,
        )
        return trajectory

    def patch(self, backbone: Backbone, trajectories: Sequence[Trajectory]) -> AbstractContextManager[Hooks]:
        """Let all cross-attentions see text and picture jointly, with the checkpoint's own weights if asked for."""
        return attention.joint_attention(backbone, trajectories)


def own_weights_of(params: DeadiffParams, checkpoint: DeadiffCheckpoint, backbone: Backbone) -> OwnWeights:
    """Return the checkpoint's UNet and text encoder, or none where the model's own are asked for."""
    if params.base_weights != "checkpoint":
        return OwnWeights()
    schedulers.require_noise_prediction(backbone.scheduler_config, f"{SPEC.name} with its own weights", backbone.name)
    return own_weights.get_or_load(checkpoint, backbone)


def scheduled(trajectory: Trajectory, params: DeadiffParams) -> Trajectory:
    """Give a trajectory the authors' timesteps if they are asked for (spec, "Sampling defaults")."""
    if params.schedule == "ldm":
        if params.sampler != "ddim":
            raise Refused(f"params.schedule ldm goes with params.sampler ddim, not with {params.sampler}")
        scheduler: Any = trajectory.scheduler
        levels = int(scheduler.config.num_train_timesteps)
        scheduler.timesteps = torch.arange(1, levels, levels // scheduler.num_inference_steps).flip(0)
    return trajectory


TECHNIQUE = Deadiff()
