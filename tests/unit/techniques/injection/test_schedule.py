"""The two schedules, against the formulas of the authors' two programs."""

from typing import Any

import pytest
import torch
from diffusers import DDIMScheduler, PNDMScheduler
from torch import Tensor

from workers.techniques.injection.style_id import schedule

LEVELS: dict[str, Any] = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
A = DDIMScheduler(**LEVELS).alphas_cumprod


def config(**own: Any) -> dict[str, Any]:
    """What becomes of a checkpoint's configuration; it leaves to PNDM's defaults what it does not say."""
    return schedule.configuration(PNDMScheduler(**{**LEVELS, **own}).config, None)


def moved(z: Tensor, e: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """The deterministic step from signal level a to level b."""
    return b.sqrt() * (z - (1 - a).sqrt() * e) / a.sqrt() + (1 - b).sqrt() * e


def pair() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(1, 4, 2, 2, generator=generator), torch.randn(1, 4, 2, 2, generator=generator)


def test_the_papers_timesteps_replace_the_models_own_spacing() -> None:
    own = config(timestep_spacing="trailing", set_alpha_to_one=True)
    assert schedule.sampling("aligned", own, 20, None).timesteps.tolist() == list(range(951, 0, -50))
    assert schedule.inverse("aligned", own, 20).timesteps.tolist() == list(range(1, 952, 50))


def test_a_given_configuration_is_followed() -> None:
    given = schedule.configuration(config(), {"steps_offset": 0, "beta_schedule": "linear"})
    assert schedule.inverse("aligned", given, 10).timesteps[0] == 0


@pytest.mark.parametrize("steps", [1, 7, 12, 20, 50])
def test_aligned_inversion_mirrors_sampling(steps: int) -> None:
    z, e = pair()
    inverse = schedule.inverse("aligned", config(), steps)
    sampling = schedule.sampling("aligned", config(), steps, None)
    r = 1000 // steps
    assert inverse.timesteps.tolist() == [j * r + 1 for j in range(steps)]
    assert inverse.timesteps.tolist() == sampling.timesteps.tolist()[::-1]
    for t in inverse.timesteps:
        there = inverse.step(e, t, z, return_dict=False)[0]
        torch.testing.assert_close(there, moved(z, e, A[max(int(t) - r, 0)], A[int(t)]), rtol=1e-4, atol=1e-5)
        back = sampling.step(e, t, there, return_dict=False)[0]
        torch.testing.assert_close(back, z, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("steps", [10, 20, 50])
def test_ldm_inversion_runs_ahead_and_ends_at_the_last_level(steps: int) -> None:
    z, e = pair()
    inverse = schedule.inverse("ldm", config(), steps)
    r = 1000 // steps
    ascending = inverse.timesteps.tolist()
    assert ascending == list(range(1, 1000, r))
    for t, target in zip(inverse.timesteps, [*ascending[1:], 999], strict=True):
        ahead = inverse.step(e, t, z, return_dict=False)[0]
        torch.testing.assert_close(ahead, moved(z, e, A[int(t)], A[target]), rtol=1e-4, atol=1e-5)


def test_ldm_sampling_leaves_out_the_timesteps_from_start_step_on() -> None:
    assert schedule.sampling("ldm", config(), 50, 49).timesteps.tolist() == list(range(961, 0, -20))
    assert schedule.sampling("ldm", config(), 50, None).timesteps.tolist() == list(range(961, 0, -20))
    assert schedule.sampling("ldm", config(), 50, 30).timesteps.tolist() == list(range(581, 0, -20))
    assert schedule.sampling("ldm", config(), 10, 49).timesteps.tolist() == list(range(901, 0, -100))
    assert schedule.sampling("ldm", config(), 1, None).timesteps.tolist() == [1]


def test_ldm_sampling_is_plain_ddim() -> None:
    z, e = pair()
    sampling = schedule.sampling("ldm", config(), 50, 49)
    assert sampling.timesteps[-1] == 1
    for t in (961, 21, 1):
        there = sampling.step(e, torch.tensor(t), z, return_dict=False)[0]
        torch.testing.assert_close(there, moved(z, e, A[t], A[max(t - 20, 0)]), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", ["aligned", "ldm"])
def test_v_prediction_is_inverted_like_the_noise_it_stands_for(kind: str) -> None:
    z, v = pair()
    inverse = schedule.inverse(kind, config(prediction_type="v_prediction"), 20)
    t = 501
    a, b = (A[451], A[501]) if kind == "aligned" else (A[501], A[551])
    e = a.sqrt() * v + (1 - a).sqrt() * z
    ahead = inverse.step(v, torch.tensor(t), z, return_dict=False)[0]
    torch.testing.assert_close(ahead, moved(z, e, a, b), rtol=1e-4, atol=1e-5)
