"""Redux on the tiny FLUX: what the references change, and what nothing of them changes."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.support.models import flux_of
from tests.support.techniques.caching import require_no_trace
from tests.support.techniques.flux_requests import SHORT, context_on, counted, inputs, installed, latents, picture
from workers.engine.backbones.flux import Flux
from workers.engine.denoise import denoise, gather
from workers.engine.errors import Refused
from workers.engine.technique import Pictures, PrepareContext
from workers.techniques.encoder.redux.spec import ReduxParams
from workers.techniques.encoder.redux.technique import TECHNIQUE, Redux, reference_tokens, strengths
from workers.techniques.encoder.redux_tokens import get_encoder
from workers.techniques.flux import flux_trajectory

TWO = Pictures((picture(1), picture(2)))


def params(**more: Any) -> ReduxParams:
    return ReduxParams(**{"max_sequence_length": SHORT, "downsampling_factor": 1} | more)


def off(one: Tensor, other: Tensor) -> float:
    return float((one - other).norm() / other.norm())


def test_a_style_that_is_kept_gives_the_same_picture_without_its_encoder(on_flux: PrepareContext) -> None:
    asked, tower = inputs(params(), strength=0.5), get_encoder(on_flux)._tower
    with counted(tower) as calls:
        [cold] = latents(TECHNIQUE, on_flux, asked)
        [warm] = latents(TECHNIQUE, on_flux, asked)
    assert torch.equal(cold, warm)
    assert len(calls) == 1
    assert (on_flux.cache.misses, on_flux.cache.hits) == (1, 1)


def test_without_strength_it_is_the_model_without_a_reference(on_flux: PrepareContext) -> None:
    asked = inputs(params(), strength=0.0)
    plain = flux_trajectory(asked, on_flux, text_tokens=SHORT)
    denoise(on_flux.backbone.predict, [plain])
    assert torch.equal(latents(TECHNIQUE, on_flux, asked)[0], plain.latents)


def test_the_effect_grows_with_the_strength(on_flux: PrepareContext) -> None:
    drawn = [latents(TECHNIQUE, on_flux, inputs(params(), strength=u))[0] for u in (0.0, 0.1, 0.3, 0.5, 0.7, 0.9, 1.0)]
    effects = [off(each, drawn[0]) for each in drawn]
    assert effects == sorted(set(effects))
    assert effects[-1] > 0.05


def test_joined_references_have_each_their_place_and_any_order(on_flux: PrepareContext) -> None:
    asked = inputs(params(), TWO, strength=0.6)
    turned = inputs(params(), Pictures(TWO.styles[::-1]), strength=0.6)
    trajectory = TECHNIQUE.prepare(asked, on_flux)
    assert trajectory.positive.text.shape[1] == SHORT + 2 * 81
    assert [(span.start, span.stop) for span in trajectory.extra.spans] == [(SHORT, 97), (97, 178)]
    [one], [other] = latents(TECHNIQUE, on_flux, asked), latents(TECHNIQUE, on_flux, turned)
    assert off(one, other) < 1e-5
    assert off(one, latents(TECHNIQUE, on_flux, inputs(params(), Pictures(TWO.styles[:1]), strength=0.6))[0]) > 1e-2


@pytest.mark.parametrize("combine", ["concat", "blend"])
def test_a_reference_of_no_weight_is_not_seen(on_flux: PrepareContext, combine: str) -> None:
    asked = inputs(params(combine=combine), TWO, strength=0.6, style_weights=(2.0, 0.0))
    first = inputs(params(combine=combine), Pictures(TWO.styles[:1]), strength=0.6)
    assert off(latents(TECHNIQUE, on_flux, asked)[0], latents(TECHNIQUE, on_flux, first)[0]) < 1e-5


def test_a_blend_is_the_weighted_sum_of_the_references(on_flux: PrepareContext) -> None:
    each = reference_tokens(inputs(params(), TWO), on_flux)
    [sum_of] = reference_tokens(inputs(params(combine="blend"), TWO, style_weights=(3.0, 1.0)), on_flux)
    torch.testing.assert_close(sum_of, 0.75 * each[0] + 0.25 * each[1])


def test_weights_divide_by_the_largest() -> None:
    asked = inputs(params(), TWO, strength=0.5, style_weights=(1.0, 4.0))
    assert strengths(asked, 2) == (0.0625, 0.25)
    assert strengths(asked, 1) == (0.25,)


@pytest.mark.parametrize(("factor", "side"), [(1, 9), (2, 4), (3, 3), (4, 2), (9, 1)])
@pytest.mark.parametrize("mode", ["area", "bicubic"])
def test_downsampling_leaves_a_coarser_grid(on_flux: PrepareContext, factor: int, side: int, mode: str) -> None:
    asked = inputs(params(downsampling_factor=factor, downsampling_mode=mode))
    assert reference_tokens(asked, on_flux)[0].shape == (side * side, 40)


def test_coarser_tokens_have_less_effect(on_flux: PrepareContext) -> None:
    [plain] = latents(TECHNIQUE, on_flux, inputs(params(), strength=0.0))
    effects = [off(latents(TECHNIQUE, on_flux, inputs(params(downsampling_factor=f)))[0], plain) for f in (1, 3, 9)]
    assert effects == sorted(effects, reverse=True)


def test_a_crop_sees_the_middle_square(on_flux: PrepareContext) -> None:
    wide = picture(1, (96, 48))
    [cropped] = reference_tokens(inputs(params(fit="crop"), Pictures((wide,))), on_flux)
    [square] = reference_tokens(inputs(params(), Pictures((wide.crop((24, 0, 72, 48)),))), on_flux)
    assert torch.equal(cropped, square)
    assert not torch.equal(cropped, reference_tokens(inputs(params(), Pictures((wide,))), on_flux)[0])


def test_the_unconditional_half_sees_no_reference(on_flux: PrepareContext) -> None:
    settings = params(true_cfg_scale=3.0)
    with_style, without = (TECHNIQUE.prepare(inputs(settings, strength=u), on_flux) for u in (0.7, 0.0))
    halves = []
    for one in (with_style, without):
        call = gather([one])
        with torch.no_grad(), TECHNIQUE.patch(on_flux.backbone, [one]) as hooks:
            hooks.before_predict(call)
            halves.append(on_flux.backbone.predict(call).chunk(2))
    assert off(halves[0][0], halves[1][0]) < 1e-5
    assert off(halves[0][1], halves[1][1]) > 1e-2


def test_a_content_picture_is_where_it_starts(on_flux: PrepareContext) -> None:
    content = Pictures((picture(1),), picture(9))
    little, much, all_of_it = (
        TECHNIQUE.prepare(inputs(params(content_strength=s), content, steps=4), on_flux) for s in (0.25, 0.5, 1.0)
    )
    assert [each.steps for each in (little, much, all_of_it)] == [1, 2, 4]
    assert torch.equal(all_of_it.latents, TECHNIQUE.prepare(inputs(params(), steps=4), on_flux).latents)


@pytest.mark.parametrize("fails", [False, True], ids=["whole", "broken off"])
def test_the_model_is_left_as_it_was(on_flux: PrepareContext, fails: bool) -> None:
    control = params(control="canny", true_cfg_scale=2.0)
    asked = inputs(control, Pictures((picture(1),), control=picture(4)), strength=0.5)
    require_no_trace(TECHNIQUE, on_flux, asked, on_flux.backbone.components["text_encoder_2"], fails=fails)


def test_the_control_lora_follows_the_map(on_flux: PrepareContext) -> None:
    asked = [inputs(params(control="canny"), Pictures((picture(1),), control=picture(seed))) for seed in (4, 5)]
    assert off(latents(Redux(), on_flux, asked[0])[0], latents(Redux(), on_flux, asked[1])[0]) > 1e-3


@pytest.mark.parametrize(
    ("base", "asked", "words"),
    [
        ("flux-control", params(), "follows a map"),
        ("flux-schnell", params(control="canny"), "needs flux or flux-control"),
        ("flux", params(control="canny"), "control_image"),
        ("flux-schnell", params(max_sequence_length=257), "at most 256 on flux-schnell"),
    ],
)
def test_what_cannot_be_done_is_refused_in_words(tiny_root: Path, base: Any, asked: ReduxParams, words: str) -> None:
    backbone: Flux = flux_of(tiny_root, base)
    with pytest.raises(Refused, match=words):
        TECHNIQUE.prepare(inputs(asked), context_on(backbone, installed(tiny_root)))
