"""The loop and `Backbone` know no architecture: a transformer on packed tokens with rectified flow runs as a UNet does.

The model is diffusers' own FLUX transformer, tiny and random, and the results are compared with diffusers' pipeline.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL, FlowMatchEulerDiscreteScheduler, FluxPipeline, FluxTransformer2DModel
from diffusers.pipelines.flux.pipeline_flux import calculate_shift
from torch import Tensor

from model_store.catalogue.entry import SIZE_MULTIPLES
from workers.contract.spec import Params
from workers.engine.backbones.base import Backbone
from workers.engine.cache.style_cache import RequestCache, StyleCache
from workers.engine.conditioning import Condition
from workers.engine.denoise import DenoiserCall, denoise
from workers.engine.errors import Refused
from workers.engine.memory import Estimate
from workers.engine.noise import SeededNoise
from workers.engine.technique import GenerationInputs, PrepareContext, text_to_image

TOKENS, WIDTH = 8, 32


class FlowScheduler:
    """Rectified flow as the loop asks for it: diffusers' has no scaling, and its steps expect no picture in the end."""

    init_noise_sigma = 1.0

    def __init__(self, steps: int, tokens: int) -> None:
        self._flow = FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True)
        self._flow.set_timesteps(sigmas=np.linspace(1, 1 / steps, steps), mu=calculate_shift(tokens))
        self._flow.set_begin_index(0)
        self.timesteps = self._flow.timesteps

    def scale_model_input(self, sample: Tensor, timestep: Tensor) -> Tensor:
        return sample

    def step(self, v: Tensor, timestep: Tensor, z: Tensor, *, return_dict: bool = False) -> tuple[Tensor, ...]:
        return self._flow.step(v, timestep, z, return_dict=False)[0], z - timestep / 1000 * v


class TokenBackbone(Backbone):
    """FLUX without text encoders: a prompt is a seed of random text, guidance is one more number per row."""

    def __init__(self, pipe: FluxPipeline) -> None:
        super().__init__(name="tokens", base="sd15", fingerprint="", dtype=torch.float32, scheduler_config={})
        self.pipe = pipe

    denoiser = property(lambda self: self.pipe.transformer)
    folder: Path | None = None
    latent_channels, vae_factor, size_multiple = 4, 8, 16

    @property
    def components(self) -> Mapping[str, Any]:
        return self.pipe.components

    def condition(
        self, prompts: Sequence[str], negative_prompt: str | None, *, guided: bool, width: int, height: int
    ) -> tuple[Condition, Condition | None]:
        return texts(prompts), texts([negative_prompt or ""] * len(prompts)) if guided else None

    def build_scheduler(
        self, sampler: str, steps: int, *, width: int, height: int, config: Mapping[str, Any] | None = None
    ) -> FlowScheduler:
        return FlowScheduler(steps, width * height // 256)

    def predict(self, call: DenoiserCall) -> Tensor:
        n, c, h, w = call.sample.shape
        return FluxPipeline._unpack_latents(
            self.denoiser(
                hidden_states=FluxPipeline._pack_latents(call.sample, n, c, h, w),
                timestep=call.timestep.expand(n) / 1000,
                encoder_hidden_states=call.condition.text,
                pooled_projections=call.condition.added["pooled"],
                guidance=call.condition.added["guidance"],
                txt_ids=torch.zeros(TOKENS, 3),
                img_ids=FluxPipeline._prepare_latent_image_ids(n, h // 2, w // 2, call.sample.device, torch.float32),
                return_dict=False,
            )[0],
            h * 8,
            w * 8,
            8,
        )

    def encode(self, signed: Tensor, generator: torch.Generator | None = None) -> Tensor:
        return self.pipe.vae.encode(signed).latent_dist.mode()

    def decode(self, latents: Tensor) -> Tensor:
        return self.pipe.vae.decode(latents, return_dict=False)[0]

    def estimate_memory(self, *, rows: int, width: int, height: int) -> Estimate:
        return Estimate(rows * width * height, width * height)


def texts(prompts: Sequence[str]) -> Condition:
    drawn = [torch.randn(TOKENS + 1, WIDTH, generator=torch.Generator().manual_seed(len(text))) for text in prompts]
    text = torch.stack(drawn)
    return Condition(text[:, :-1], {"pooled": text[:, -1], "guidance": torch.full((len(text),), 3.5)})


@pytest.fixture(scope="module")
def context() -> PrepareContext:
    torch.manual_seed(0)
    transformer = FluxTransformer2DModel(
        in_channels=16,
        num_layers=1,
        num_single_layers=1,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=WIDTH,
        pooled_projection_dim=WIDTH,
        guidance_embeds=True,
        axes_dims_rope=(4, 4, 8),
    )
    blocks = {"down_block_types": ("DownEncoderBlock2D",) * 4, "up_block_types": ("UpDecoderBlock2D",) * 4}
    vae = AutoencoderKL(**blocks, block_out_channels=(4,) * 4, norm_num_groups=1, use_quant_conv=False)
    nothing = dict.fromkeys(("text_encoder", "tokenizer", "text_encoder_2", "tokenizer_2"))
    scheduler = FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True)
    pipe = FluxPipeline(transformer=transformer.eval(), vae=vae.eval(), scheduler=scheduler, **nothing)
    pipe.set_progress_bar_config(disable=True)
    return PrepareContext(TokenBackbone(pipe), RequestCache(StyleCache([])), weights=Path)


def inputs(seed: int = 1, **more: Any) -> GenerationInputs:
    fields = {"guidance_scale": 2.0, "steps": 3, "width": 64, "height": 96} | more
    return GenerationInputs(("a fox",), (seed,), params=Params(), noise=SeededNoise((seed,)), **fields)


def made(context: PrepareContext, *asked: GenerationInputs) -> list[Tensor]:
    trajectories = [text_to_image(one, context) for one in asked]
    denoise(context.backbone.predict, trajectories)
    assert all(torch.allclose(one.estimate, one.latents, atol=1e-5) for one in trajectories), "the last expects itself"
    return [one.latents for one in trajectories]


def test_a_transformer_gives_what_its_pipeline_gives(context: PrepareContext) -> None:
    asked, positive, negative = inputs(), texts(["a fox"]), texts([""])
    noise = asked.noise.normal("initial", context.backbone.latent_shape(64, 96))
    theirs = context.backbone.pipe(
        prompt_embeds=positive.text,
        pooled_prompt_embeds=positive.added["pooled"],
        negative_prompt_embeds=negative.text,
        negative_pooled_prompt_embeds=negative.added["pooled"],
        true_cfg_scale=2.0,
        guidance_scale=3.5,
        width=64,
        height=96,
        num_inference_steps=3,
        latents=FluxPipeline._pack_latents(noise, *noise.shape),
        output_type="latent",
    ).images
    [ours] = made(context, asked)
    torch.testing.assert_close(ours, FluxPipeline._unpack_latents(theirs, 96, 64, 8), rtol=0, atol=1e-4)


def test_requests_of_a_transformer_share_calls_at_their_own_timesteps(context: PrepareContext) -> None:
    asked = [inputs(1), inputs(2, steps=5, guidance_scale=1.0), inputs(3, guidance_scale=4.0)]
    for together, alone in zip(made(context, *asked), asked, strict=True):
        torch.testing.assert_close(together, made(context, alone)[0], rtol=0, atol=1e-4)


def test_a_size_is_a_multiple_of_what_the_backbone_says(context: PrepareContext) -> None:
    with pytest.raises(Refused, match="multiples of 16 on tokens, not 72x96"):
        text_to_image(replace(inputs(), width=72), context)


def test_encode_and_decode_have_the_latent_shape(context: PrepareContext) -> None:
    backbone = context.backbone
    with torch.no_grad():
        latents = backbone.encode(torch.zeros(1, 3, 96, 64))
        assert tuple(latents.shape[1:]) == backbone.latent_shape(64, 96) == (4, 12, 8)
        assert backbone.decode(latents).shape == (1, 3, 96, 64)


def test_the_catalogue_knows_what_sizes_a_base_model_draws(
    sd15: Backbone, sdxl: Backbone, flux: Backbone, flux_fill: Backbone, flux2: Backbone
) -> None:
    for one in (sd15, sdxl, flux, flux_fill, flux2):
        assert one.size_multiple == SIZE_MULTIPLES[one.base]
