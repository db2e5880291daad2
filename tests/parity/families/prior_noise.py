"""Parity of the prior-noise family: cases as calls of signal-leak and style-noise."""

import copy
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from tests.parity.case import Case
from tests.parity.lab import Lab, carry, inputs
from workers.engine import schedulers
from workers.engine.backbones.stable_diffusion import StableDiffusion
from workers.techniques.prior_noise import statistics, stats_file, style_set
from workers.techniques.prior_noise.signal_leak import leak
from workers.techniques.prior_noise.signal_leak.spec import SignalLeakParams
from workers.techniques.prior_noise.signal_leak.technique import SignalLeak
from workers.techniques.prior_noise.style_noise.spec import StyleNoiseParams
from workers.techniques.prior_noise.style_noise.style import TUNED
from workers.techniques.prior_noise.style_noise.technique import StyleNoise
from workers.training.style_noise import loop

DRAWS = {"noise_initial": "initial", "noise_leak": "leak", "lf_components_sample": "leak-low", "noise": "initial"}
KNOBS = ("single_reference", "statistic_type", "n_components", "only_hf", "channel", "value", "color")
GRADIENTS = {
    "grad_conv_in_weight": "conv_in.weight",
    "grad_conv_out_bias": "conv_out.bias",
    "grad_mid_attn_to_q": "mid_block.attentions.0.transformer_blocks.0.attn2.to_q.weight",
}


def technique_of(case: Case) -> str:
    """Return the technique that a case is about."""
    return "style-noise" if case.params["mode"] == "style-noise" else "signal-leak"


def run(case: Case, lab: Lab) -> Mapping[str, Tensor]:
    """Return every tensor of a case that we can compute, by its recorded name."""
    if technique_of(case) == "signal-leak":
        return _leak(case, lab)
    if "timesteps" in case.inputs:
        return _loss(case, lab)
    with TemporaryDirectory() as scratch:
        return _sample(case, lab, Path(scratch))


def draws(case: Case) -> dict[str, Tensor]:
    """Return the recorded draws by the names the techniques use."""
    return {DRAWS[name]: rows for name, rows in case.inputs.items() if name in DRAWS}


def _leak(case: Case, lab: Lab) -> Mapping[str, Tensor]:
    params, context, technique = _leak_params(case), lab.context(case), SignalLeak()
    asked = inputs(case, params, draws(case))
    trajectory = technique.prepare(asked, context)
    found = leak.statistics_of(asked, params, context)
    shape = context.backbone.latent_shape(asked.width, asked.height)
    initial = trajectory.latents / trajectory.scheduler.init_noise_sigma
    steps = carry(technique, trajectory, context)
    return {
        **found.tensors,
        "signal_leak": leak.drawn(asked, params, found, shape),
        "initial_latents": initial,
        "latents_step1": steps[1],
        "latents": trajectory.latents,
    }


def _leak_params(case: Case) -> SignalLeakParams:
    given: dict[str, Any] = {name: value for name, value in case.params.items() if name in KNOBS}
    if "dct_indices_row_col" in case.params:
        given["dct_indices"] = tuple(tuple(cell) for cell in case.params["dct_indices_row_col"])
    if "strength" in case.params:
        given["leak_scale"] = case.params["strength"]
    if case.has_weights("stats"):
        given["statistics"] = "stats"
    return SignalLeakParams(**given, sampler=case.facts["scheduler"])


def _measured(case: Case, backbone: StableDiffusion) -> tuple[Tensor, Tensor, Tensor]:
    """Return the latents of the case's style set, their mean and their variance."""
    side = case.params["resolution"]
    z = style_set.latents(case.styles, backbone, side, side)
    return z, *statistics.pixel(z, statistics.equal(len(z)))


def _sample(case: Case, lab: Lab, folder: Path) -> Mapping[str, Tensor]:
    """Sample with the statistics of the case's pictures. The cases' UNet is not tuned: its tuning is empty."""
    backbone = lab.backbone(case)
    _, mean, var = _measured(case, backbone)
    stats_file.write(folder, "pixel", {"mean_pixels": mean, "var_pixels": var})
    save_file({}, folder / TUNED)
    (folder / "style.json").write_text(json.dumps({"base": backbone.base}))
    technique = StyleNoise()
    asked = inputs(case, StyleNoiseParams(style="style", sampler=case.facts["scheduler"]), draws(case))
    context = replace(lab.context(case), weights=lambda name: folder)
    trajectory = technique.prepare(asked, context)
    steps = carry(technique, trajectory, context)
    return {
        "mu_style": mean,
        "sigma_style": var.sqrt(),
        "initial_latents": steps[0] / trajectory.scheduler.init_noise_sigma,
        "latents_step1": steps[1],
        "latents": trajectory.latents,
    }


def _loss(case: Case, lab: Lab) -> Mapping[str, Tensor]:
    backbone = lab.backbone(case)
    z, mean, var = _measured(case, backbone)
    t, e, prompts = case.inputs["timesteps"], case.inputs["noise"], case.params["prompts"]
    z_0 = z[: len(t)]
    unet = copy.deepcopy(backbone.denoiser).requires_grad_(True)
    abar = schedulers.build("ddim", backbone.scheduler_config, 1).alphas_cumprod
    side = case.params["resolution"]
    text, _ = backbone.condition(prompts, None, guided=False, width=side, height=side)
    with torch.enable_grad():
        made = loop.step(unet, abar, z_0, text, t, e, mean, var.sqrt())
        made.loss.backward()
    gradients = {name: parameter.grad for name, parameter in unet.named_parameters() if parameter.grad is not None}
    return {
        "clean_latents": z_0,
        "mu_style": mean,
        "sigma_style": var.sqrt(),
        "style_noise": made.noise,
        "noisy_latents": made.noisy,
        "model_pred": made.prediction,
        "loss": made.loss[None],
        "grad_norm": torch.stack([gradient.square().sum() for gradient in gradients.values()]).sum().sqrt()[None],
        **{name: gradients[parameter] for name, parameter in GRADIENTS.items()},
    }
