"""StyleID's formulas on their own, against their definitions."""

import pytest
import torch

from workers.techniques.injection.style_id import math


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def test_adain_gives_the_styles_mean_and_spread_whatever_the_sizes() -> None:
    z_c, z_s = random(1, 4, 8, 6) * 3 + 1, random(1, 4, 5, 9, seed=1) - 2
    z = math.initial_latent_adain(z_c, z_s, 0.0)
    torch.testing.assert_close(z.mean((-2, -1)), z_s.mean((-2, -1)))
    torch.testing.assert_close(z.std((-2, -1), correction=1), z_s.std((-2, -1), correction=1))


def test_eps_goes_to_the_contents_spread_alone() -> None:
    z_c, z_s = random(1, 1, 4, 4), random(1, 1, 4, 4, seed=1)
    centred = z_c - z_c.mean()
    expected = centred / (z_c.std() + 0.5) * z_s.std() + z_s.mean()
    torch.testing.assert_close(math.initial_latent_adain(z_c, z_s, 0.5), expected)


def test_a_flat_content_does_not_divide_by_zero_with_eps() -> None:
    assert math.initial_latent_adain(torch.ones(1, 4, 2, 2), random(1, 4, 2, 2), 1e-4).isfinite().all()


@pytest.mark.parametrize(("gamma", "expected"), [(1.0, 2.0), (0.0, 6.0), (0.75, 3.0)])
def test_gamma_keeps_the_contents_query(gamma: float, expected: float) -> None:
    mixed = math.preserved_query(torch.full((1, 2, 4), 2.0), torch.full((1, 2, 4), 6.0), gamma)
    assert torch.equal(mixed, torch.full((1, 2, 4), expected))


def test_attention_is_the_softmax_of_the_scaled_logits_per_head() -> None:
    Q, K, V = random(2, 5, 8), random(2, 7, 8, seed=1), random(2, 7, 8, seed=2)
    T, d = 1.5, 4
    ours = math.attention(Q, K, V, heads=2, scale=T * d**-0.5)
    for row in range(2):
        for head in (slice(0, 4), slice(4, 8)):
            logits = T * (Q[row, :, head] @ K[row, :, head].T) / d**0.5
            torch.testing.assert_close(ours[row, :, head], logits.softmax(-1) @ V[row, :, head])


def test_strength_goes_from_nothing_over_the_published_method_to_the_strong_setting() -> None:
    strengths = [0.0, 0.1, 0.25, 0.5, 0.75, 1.0]
    shares = [math.injected_share(s) for s in strengths]
    gammas = [math.preservation(s, 0.75) for s in strengths]
    assert shares == sorted(shares)
    assert gammas == sorted(gammas, reverse=True)
    assert (shares[0], shares[3], shares[5]) == (0.0, 1.0, 1.0)
    assert gammas[:4] == [0.75] * 4
    assert gammas[5] == pytest.approx(0.3)
