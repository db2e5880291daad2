"""The statistics in the papers' symbols, against numpy and by their definitions."""

import numpy as np
import pytest
import torch

from workers.techniques.prior_noise import statistics


def latents(n: int, side: int = 8) -> torch.Tensor:
    return torch.randn(n, 4, side, side, generator=torch.Generator().manual_seed(n))


def test_equal_weights_give_the_unbiased_statistics() -> None:
    z = latents(5)
    mean, var = statistics.pixel(z, statistics.weights([2, 2, 2, 2, 2]))
    torch.testing.assert_close(mean, z.mean(0))
    torch.testing.assert_close(var, z.var(0, correction=1))


def test_weights_count_images() -> None:
    z = latents(3)
    mean, _ = statistics.pixel(z, statistics.weights([3, 1, 0]))
    torch.testing.assert_close(mean, 0.75 * z[0] + 0.25 * z[1])


def test_a_palette_has_no_layout() -> None:
    z = latents(1)[0]
    mean, var = statistics.palette(z)
    assert mean.shape == var.shape == z.shape
    torch.testing.assert_close(mean[:, 3, 5], z.mean((1, 2)))
    torch.testing.assert_close(var[:, 0, 0], z.flatten(1).var(1, correction=1))


def test_the_transform_is_orthonormal_and_of_type_two() -> None:
    D = statistics.dct_matrix(8)
    torch.testing.assert_close(D @ D.T, torch.eye(8, dtype=torch.float64))
    torch.testing.assert_close(D[0], torch.full((8,), 8**-0.5, dtype=torch.float64))
    torch.testing.assert_close(D[1, 0], torch.tensor(0.5 * np.cos(np.pi / 16), dtype=torch.float64))


def test_components_and_their_inverse() -> None:
    z = latents(2)
    everything = statistics.lowest(64, 8)
    low = statistics.components(z, everything)
    torch.testing.assert_close(statistics.image_of(low, everything, 8), z, rtol=0, atol=1e-5)
    mean = statistics.image_of(statistics.components(z, ((0, 0),)), ((0, 0),), 8)
    torch.testing.assert_close(mean, z.mean((2, 3), keepdim=True).expand_as(z), rtol=0, atol=1e-5)


def test_components_are_component_major() -> None:
    z, coordinates = latents(1), ((0, 0), (0, 1), (1, 0))
    vector = statistics.components(z, coordinates)[0]
    for j, coordinate in enumerate(coordinates):
        torch.testing.assert_close(vector[4 * j : 4 * j + 4], statistics.components(z, (coordinate,))[0])


@pytest.mark.parametrize(
    ("n", "chosen"),
    [
        (1, ((0, 0),)),
        (2, ((0, 0), (0, 1))),
        (3, ((0, 0), (0, 1), (1, 0))),
        (5, ((0, 0), (0, 1), (1, 0), (1, 1), (0, 2))),
    ],
)
def test_ties_break_by_row_then_column(n: int, chosen: statistics.Coordinates) -> None:
    assert statistics.lowest(n, 8) == chosen


def test_low_and_high_parts_make_the_whole() -> None:
    z, coordinates = latents(6), statistics.lowest(3, 8)
    mean_lf, cov_lf, mean_hf, var_hf = statistics.dct_pixel(z, statistics.weights([1] * 6), coordinates)
    low = statistics.components(z, coordinates)
    torch.testing.assert_close(statistics.image_of(mean_lf, coordinates, 8) + mean_hf, z.mean(0), rtol=0, atol=1e-5)
    np.testing.assert_allclose(cov_lf, np.cov(low.numpy().T, ddof=1), rtol=1e-4, atol=1e-5)
    remainder = z - statistics.image_of(low, coordinates, 8)
    torch.testing.assert_close(var_hf, remainder.var(0, correction=1), rtol=1e-4, atol=1e-6)
