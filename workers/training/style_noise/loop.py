"""One training step of a style, and the training itself: the text-to-image recipe with the style's noise.

The recipe is a proposal (the paper's own is not published): LoRA over attention and feed-forward, AdamW, captions
without style words, each dropped with probability 0.1, timesteps uniform in 0..999.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig
from peft.utils import get_peft_model_state_dict
from PIL import Image
from torch import Tensor

from model_store.load.lora import WEIGHTS
from workers.engine import schedulers
from workers.engine.backbones.stable_diffusion import StableDiffusion, unet_inputs
from workers.engine.conditioning import Condition
from workers.techniques.prior_noise import statistics, stats_file, style_set
from workers.techniques.prior_noise.style_noise import math

LAYERS = ("to_q", "to_k", "to_v", "to_out.0", "ff.net.0.proj", "ff.net.2")


@dataclass(frozen=True)
class TrainingConfig:
    """The numbers of a training."""

    steps: int = 1000
    batch: int = 4
    rank: int = 32
    learning_rate: float = 1e-4
    caption_dropout: float = 0.1
    seed: int = 0


@dataclass(frozen=True)
class TrainingStep:
    """One forward step of the training: z_t, what the UNet predicted, the noise it should have, and the loss."""

    noisy: Tensor
    prediction: Tensor
    noise: Tensor
    loss: Tensor


def step(
    unet: Any, abar: Tensor, z_0: Tensor, condition: Condition, t: Tensor, e: Tensor, mu: Tensor, sig: Tensor
) -> TrainingStep:
    """Return one step with gradients. z_0, e: (N, C, h, w); t: (N) timesteps; abar: all alphas_cumprod."""
    n = math.style_noise(mu, sig, e)
    z_t = math.forward(z_0, n, abar[t])
    prediction = unet(z_t.to(unet.dtype), t, **unet_inputs(condition), return_dict=False)[0]
    return TrainingStep(z_t, prediction, n, math.loss(prediction, n))


def train(
    backbone: StableDiffusion,
    pictures: Sequence[Image.Image],
    captions: Sequence[str],
    out: Path,
    *,
    width: int,
    height: int,
    config: TrainingConfig,
    report: Callable[[int, float], None],
) -> None:
    """Train a style's LoRA on a base model of its own and write it with its statistics into the folder `out`.

    Raises ValueError for fewer than two pictures: one has no variance. Raises Refused for a model that does not
    predict noise.
    """
    schedulers.require_noise_prediction(backbone.scheduler_config, "training for style-noise", backbone.name)
    if len(pictures) < 2:
        raise ValueError("a style needs at least two pictures: one has no variance")
    z = style_set.latents(pictures, backbone, width, height)
    mu, var = statistics.pixel(z, statistics.equal(len(z)))
    unet = backbone.denoiser
    unet.add_adapter(LoraConfig(r=config.rank, lora_alpha=config.rank, target_modules=list(LAYERS)))
    for number, loss in _descend(backbone, z, mu, var.sqrt(), captions, (width, height), config):
        report(number, loss)
    out.mkdir(parents=True, exist_ok=True)
    stats_file.write(out, "pixel", {"mean_pixels": mu, "var_pixels": var})
    backbone.pipe.save_lora_weights(out, unet_lora_layers=get_peft_model_state_dict(unet), weight_name=WEIGHTS)
    facts = {"base": backbone.base, "model": backbone.name, "width": width, "height": height}
    (out / "style.json").write_text(json.dumps(facts, indent=1))


def _descend(
    backbone: StableDiffusion,
    z: Tensor,
    mu: Tensor,
    sig: Tensor,
    captions: Sequence[str],
    size: tuple[int, int],
    config: TrainingConfig,
) -> Any:
    """Yield (number, loss) of each optimizer step."""
    unet, draw = backbone.denoiser, torch.Generator("cpu").manual_seed(config.seed)
    abar = schedulers.build("ddim", backbone.scheduler_config, 1).alphas_cumprod.to(backbone.device)
    trained = [parameter for parameter in unet.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=config.learning_rate)
    texts, _ = backbone.condition([*captions, ""], None, guided=False, width=size[0], height=size[1])
    for number in range(1, config.steps + 1):
        chosen = torch.randint(len(z), (config.batch,), generator=draw)
        dropped = torch.rand(config.batch, generator=draw) < config.caption_dropout
        condition = texts.select(torch.where(dropped, len(captions), chosen).to(backbone.device))
        t = torch.randint(len(abar), (config.batch,), generator=draw)
        e = torch.randn(config.batch, *z.shape[1:], generator=draw)
        z_0, e, t, m, s = (x.to(backbone.device) for x in (z[chosen], e, t, mu, sig))
        with torch.enable_grad():
            made = step(unet, abar, z_0, condition, t, e, m, s)
            made.loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        yield number, float(made.loss.detach())
