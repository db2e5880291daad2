"""The UNet's shape: Stable Diffusion 1.5's module tree, narrower."""

from diffusers.models.attention_processor import AttnProcessor
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from diffusers.schedulers.scheduling_ddim import DDIMScheduler

from workers.training.starter.networks.patch_code import CHANNELS, PATCH
from workers.training.starter.networks.text import WIDTH
from workers.training.starter.world.picture import SIZE


def build_unet(widths: tuple[int, int, int, int]) -> UNet2DConditionModel:
    """Three cross-attention levels and a plain one, two layers each, so that every layer name of SD1.5 exists."""
    return UNet2DConditionModel(
        sample_size=SIZE // PATCH,
        in_channels=CHANNELS,
        out_channels=CHANNELS,
        block_out_channels=widths,
        layers_per_block=2,
        cross_attention_dim=WIDTH,
        attention_head_dim=4,
        norm_num_groups=16,
    )


def attend_for_training(unet: UNet2DConditionModel) -> None:
    """On a CPU, attend by plain products: fused attention is slow backwards in bfloat16 (25 samples/s, not 44)."""
    if unet.device.type == "cpu":
        unet.set_attn_processor(AttnProcessor())


def build_scheduler() -> DDIMScheduler:
    """Stable Diffusion 1.5's noise schedule."""
    return DDIMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
    )
