"""The formulas of StyleAligned, alone."""

import math

import pytest
import torch

from workers.techniques.shared_attention.style_aligned import math as sa

ONE, NONE = torch.ones(3, 1, 1), torch.zeros(3, 1, 1)


def test_adain_gives_the_references_statistics() -> None:
    x, r = torch.randn(3, 50, 8) * 3 + 2, torch.randn(3, 50, 8)
    y = sa.adain(x, *sa.statistics(x), *sa.statistics(r), ONE)
    torch.testing.assert_close(y.mean(1), r.mean(1), atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(y.std(1), r.std(1), atol=1e-5, rtol=1e-4)


def test_adain_is_linear_in_w_and_the_identity_at_none_and_of_itself() -> None:
    x, r = torch.randn(3, 50, 8), torch.randn(3, 50, 8)
    none, half, full = (sa.adain(x, *sa.statistics(x), *sa.statistics(r), w * ONE) for w in (0.0, 0.5, 1.0))
    assert torch.equal(none, x)
    torch.testing.assert_close(half, (x + full) / 2)
    torch.testing.assert_close(sa.adain(x, *sa.statistics(x), *sa.statistics(x), ONE), x)


def test_adain_keeps_the_type() -> None:
    x = torch.randn(3, 50, 8, dtype=torch.bfloat16)
    assert sa.adain(x, *sa.statistics(x), *sa.statistics(x), ONE).dtype is torch.bfloat16


@pytest.mark.parametrize("shape", [(3, 8, 5, 7), (3, 8, 11)])
def test_pooled_moments_are_those_of_the_concatenation(shape: tuple[int, ...]) -> None:
    norm = torch.nn.GroupNorm(4, 8)
    torch.nn.init.normal_(norm.weight)
    torch.nn.init.normal_(norm.bias)
    x, r = torch.randn(shape) + 1, torch.randn(shape) * 2
    mu, var = sa.mixed_moments(*sa.moments(x, 4), *sa.moments(r, 4), ONE[:, 0])
    pooled = sa.normalised(x, mu, var, norm.weight, norm.bias, norm.eps)
    torch.testing.assert_close(pooled, norm(torch.cat([x, r], 2))[:, :, : shape[2]], atol=1e-5, rtol=1e-4)
    mu, var = sa.mixed_moments(*sa.moments(x, 4), *sa.moments(r, 4), NONE[:, 0])
    alone = sa.normalised(x, mu, var, norm.weight, norm.bias, norm.eps)
    torch.testing.assert_close(alone, norm(x), atol=1e-5, rtol=1e-4)


def test_attention_is_the_softmax() -> None:
    q, k, v = torch.randn(2, 5, 12), torch.randn(2, 7, 12), torch.randn(2, 7, 12)
    bias = torch.randn(2, 1, 1, 7)
    heads = [x.unflatten(2, (3, 4)).transpose(1, 2) for x in (q, k, v)]
    theirs = torch.softmax(heads[0] @ heads[1].mT / 2 + bias, -1) @ heads[2]
    torch.testing.assert_close(sa.attention(q, k, v, 3, bias), theirs.transpose(1, 2).flatten(2))


def test_the_weight_of_the_references_columns_is_strength_times_e_to_the_shift() -> None:
    assert math.exp(sa.reference_shift(math.log(2), 0.25)) == pytest.approx(0.5)
    grown = [sa.reference_shift(0.7, w) for w in (0.01, 0.2, 0.7, 1.0)]
    assert grown == sorted(grown)
    assert grown[-1] == 0.7


@pytest.mark.parametrize(
    ("L", "level", "plain"),
    [
        (17, 0.3, {0, 3, 6, 9, 12, 15}),
        (17, 0.5, {0, 2, 4, 6, 8, 10, 12, 14, 16}),
        (16, 0.3, {0, 4, 8, 12}),
        (16, 0.75, set(range(16)) - {0, 4, 8, 12}),
        (16, 0.0, set()),
        (16, 1.0, set(range(16))),
        (70, 1 / 70, {0}),
    ],
)
def test_only_self_level_picks_the_references_layers(L: int, level: float, plain: set[int]) -> None:
    assert {i for i, alone in enumerate(sa.plain_layers(L, level)) if alone} == plain


@pytest.mark.parametrize("level", [0.05, 0.95])
def test_a_level_that_picks_none_is_an_error(level: float) -> None:
    with pytest.raises(ZeroDivisionError):
        sa.plain_layers(16, level)


def test_the_replay_skips_the_noisiest() -> None:
    assert [sa.replayed(step, 3) for step in range(9)] == [3, 4, 4, 4, 4, 5, 6, 7, 8]
    assert [sa.replayed(step, 0) for step in range(4)] == [0, 1, 2, 3]
