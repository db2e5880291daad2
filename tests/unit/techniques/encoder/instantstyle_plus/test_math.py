"""ReNoise's regularisation and CSD guidance, on numbers."""

import pytest
import torch
from torch import Tensor

from workers.techniques.encoder.instantstyle_plus import math, renoise


def noise(seed: int, *shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(
    ("t", "K", "refined", "averaged"),
    [(1, 1, 1, [0, 1]), (249, 9, 5, [0, 1, 2, 3, 4]), (250, 1, 1, []), (801, 9, 9, [8, 9]), (801, 20, 20, [8, 9])],
)
def test_late_steps_average_and_early_ones_only_after_many(t: int, K: int, refined: int, averaged: list[int]) -> None:
    assert renoise.refinements(t, K) == refined
    assert [i for i in range(refined + 1) if i in renoise.averaged(t)] == averaged


def test_patches_hold_the_sixteen_values_of_each_square() -> None:
    e = torch.arange(2 * 8 * 4.0).view(1, 2, 8, 4)
    found = renoise.patches(e)
    assert found.shape == (2, 2, 16)
    assert torch.equal(found[1, 0], e[0, 0, 4:].flatten())


def test_kl_is_the_formula_patch_by_patch() -> None:
    e, opt = noise(1, 1, 4, 8, 12), 0.5 + 2 * noise(2, 1, 4, 8, 12)
    total = 0.0
    for c in range(4):
        for top in (0, 4):
            for left in (0, 4, 8):
                a, b = (x[0, c, top : top + 4, left : left + 4].flatten() for x in (e, opt))
                v, v_o = a.var() + 0, b.var()
                kl = torch.log((v_o + 1e-6) / (v + 1e-6)) + (v + (a.mean() - b.mean()) ** 2) / (v_o + 1e-6) - 1
                total += float(kl.abs())
    assert float(renoise.kl(e, opt)) == pytest.approx(total, rel=1e-5)
    assert float(renoise.kl(e, e)) == pytest.approx(0, abs=1e-3)


def test_autocorrelation_draws_once_a_channel_and_scale() -> None:
    e, bounds = noise(3, 1, 2, 32, 32), []

    def roll(bound: int) -> int:
        bounds.append(bound)
        return 3

    found = float(renoise.ac(e, roll))
    assert bounds == [16, 8, 4] * 2
    expected = 0.0
    for y in e[0]:
        for _ in range(3):
            for dim in (0, 1):
                expected += float((y * torch.roll(y, 3, dim)).mean()) ** 2
            y = torch.nn.functional.avg_pool2d(y[None], 2)[0]
    assert found == pytest.approx(expected, rel=1e-4)


def test_regularisation_brings_a_prediction_nearer_to_noise() -> None:
    opt, e = noise(4, 1, 4, 16, 16), 1.5 * noise(5, 1, 4, 16, 16) + 0.3
    moved = renoise.regularised(e, opt, lambda bound: 1)
    assert renoise.kl(moved, opt) < renoise.kl(e, opt)
    assert not moved.requires_grad


def test_what_is_decoded_lies_between_estimate_and_sample() -> None:
    x_t, eps = noise(6, 1, 4, 2, 2), noise(7, 1, 4, 2, 2)
    x_0 = math.clean(x_t, eps, 0.36)
    assert torch.allclose(0.6 * x_0 + 0.8 * eps, x_t, atol=1e-6)
    assert torch.allclose(math.mixed(x_0, x_t, 0.36), 0.8 * x_0 + 0.2 * x_t)
    assert torch.allclose(math.corrected(eps, x_t, 0.36), eps - 0.8 * x_t)


def test_the_judge_sees_the_middle_of_a_wide_picture() -> None:
    wide = torch.zeros(1, 3, 16, 48)
    wide[..., 16:32] = 3.0
    seen = math.judged(wide, 8)
    assert seen.shape == (1, 3, 8, 8)
    assert seen.min() > 0.5
    assert seen.max() == 1
    assert torch.allclose(math.judged(torch.full((1, 3, 8, 8), -0.5), 8), torch.tensor(0.25))


def test_the_loss_is_the_negative_similarity() -> None:
    style, content, refs = noise(8, 2, 4), noise(9, 2, 4), (noise(10, 1, 4), noise(11, 1, 4))
    expected = -2.0 * (style @ refs[0].T).sum() - 3.0 * (content @ refs[1].T).sum()
    assert torch.allclose(math.loss(style, content, refs, (2.0, 3.0)), expected)
