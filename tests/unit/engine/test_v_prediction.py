"""Models that predict v, with zero terminal SNR or without: no sampler and no technique takes them for others."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.unit.engine.test_engine import engine_of, picture, quiet, request
from workers.engine import schedulers
from workers.engine.backbones.load import load
from workers.engine.backbones.stable_diffusion import StableDiffusion
from workers.engine.conditioning import Condition
from workers.engine.denoise import DenoiserCall, Trajectory, denoise
from workers.engine.errors import Refused
from workers.engine.schedulers import CLASSES, INVERSE
from workers.engine.types import Pictures
from workers.training.style_noise.loop import TrainingConfig, train

ZERO_SNR = {"prediction_type": "v_prediction", "rescale_betas_zero_snr": True, "timestep_spacing": "trailing"}
V = {"prediction_type": "v_prediction"}
KINDS: dict[str, dict[str, Any]] = {"epsilon": {}, "v": V, "zero-snr": ZERO_SNR}


def modified(folder: Path, copy: Path, scheduler: str, **config: Any) -> StableDiffusion:
    """Return a tiny model whose folder says something else of its scheduler."""
    shutil.copytree(folder, copy)
    file = copy / "scheduler" / "scheduler_config.json"
    file.write_text(json.dumps({**json.loads(file.read_bytes()), "_class_name": scheduler, **config}))
    return load(copy)


@pytest.fixture(scope="module")
def zero_snr(tiny_root: Path, tmp_path_factory: pytest.TempPathFactory) -> StableDiffusion:
    return modified(tiny_root / "sd15", tmp_path_factory.mktemp("models") / "v", "PNDMScheduler", **ZERO_SNR)


GOAL = torch.linspace(-2, 2, 16, dtype=torch.float64).view(1, 1, 4, 4)
NOISE = torch.randn(GOAL.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def deviation(scheduler: Any) -> float:
    """Return how far a sampler leaves the way from noise to a picture, told what a model would predict there."""
    a = scheduler.alphas_cumprod.double()
    seen = []

    def way(t: Tensor) -> Tensor:
        return a[int(t)].sqrt() * GOAL + (1 - a[int(t)]).sqrt() * NOISE

    def predict(call: DenoiserCall) -> Tensor:
        seen.append(float((call.sample - way(call.timestep)).abs().max()))
        v = a[int(call.timestep)].sqrt() * NOISE - (1 - a[int(call.timestep)]).sqrt() * GOAL
        return v if scheduler.config.prediction_type == "v_prediction" else NOISE

    first = scheduler.timesteps[0]
    scale = 1 if float(scheduler.init_noise_sigma) == 1 else a[int(first)].sqrt()
    text = Condition(torch.zeros(1, 1, 1, dtype=torch.float64))
    denoise(predict, [Trajectory(way(first) / scale, scheduler, text)])
    return max(seen)


def config_of(own: str, kind: str, root: Path) -> dict[str, Any]:
    """Return what a loaded model has as its scheduler's configuration, whose folder names the class `own`."""
    said = json.loads((root / "sd15" / "scheduler" / "scheduler_config.json").read_bytes())
    return dict(CLASSES[own].from_config(said | KINDS[kind]).config)


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
@pytest.mark.parametrize("own", ["ddim", "pndm", "euler"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("sampler", [name for name in CLASSES if name != INVERSE])
def test_every_sampler_reads_what_the_folder_says(sampler: str, kind: str, own: str, tiny_root: Path) -> None:
    config = config_of(own, kind, tiny_root)
    if kind == "zero-snr" and sampler == "pndm":
        with pytest.raises(Refused, match=r"zero terminal SNR\); ddim, dpm\+\+, euler, unipc have"):
            schedulers.build(sampler, config, 5)
        return
    scheduler = schedulers.build(sampler, config, 20)
    assert scheduler.config.prediction_type == KINDS[kind].get("prediction_type", "epsilon")
    assert deviation(scheduler) < (0.5 if sampler == "pndm" else 0.001), "PNDM mixes predictions of several steps"


@pytest.mark.parametrize("kind", KINDS)
def test_the_inverse_reads_it_too(kind: str, tiny_root: Path) -> None:
    scheduler = schedulers.build(INVERSE, config_of("pndm", kind, tiny_root), 10)
    assert scheduler.config.prediction_type == KINDS[kind].get("prediction_type", "epsilon")
    assert (float(scheduler.alphas_cumprod[-1]) == 0) == (kind == "zero-snr")


@pytest.mark.parametrize("method", ["style-aligned", "style-id"])
def test_techniques_run_on_it(method: str, zero_snr: StableDiffusion) -> None:
    asked = request(method=method, width=128, height=128, steps=4)
    pictures = Pictures(styles=(picture(size=(128, 128)),), content=picture(1, (128, 128)))
    (image,) = engine_of(zero_snr).stylize(asked, pictures, watch=quiet).pictures
    assert np.asarray(image).std() > 1


def test_those_that_cannot_say_so(zero_snr: StableDiffusion, tmp_path: Path) -> None:
    engine, style = engine_of(zero_snr), Pictures(styles=(picture(),))
    with pytest.raises(Refused, match="keeps no signal"):
        engine.stylize(request(), style, watch=quiet)
    with pytest.raises(Refused, match="pndm has not the noise levels"):
        engine.stylize(request(params={"sampler": "pndm"}), style, watch=quiet)
    asked = request(method="style-noise", params={"style": "mine"})
    with pytest.raises(
        Refused, match=f"style-noise needs a base model that predicts noise; {zero_snr.name} predicts v"
    ):
        engine.stylize(asked, Pictures(), watch=quiet)
    with pytest.raises(Refused, match="predicts noise"):
        train(
            zero_snr,
            [picture(), picture(1)],
            ["", ""],
            tmp_path,
            width=64,
            height=64,
            config=TrainingConfig(steps=1),
            report=lambda number, loss: None,
        )
