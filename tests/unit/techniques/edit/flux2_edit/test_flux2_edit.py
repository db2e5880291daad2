"""flux2-edit: strength, guidance, batches, and a model left as it was."""

from dataclasses import replace
from itertools import pairwise

import pytest
import torch

from tests.support.techniques.caching import require_no_trace
from tests.unit.techniques.edit.flux2_edit.requests import asked, carried, context, made
from workers.engine.backbones.flux2 import Flux2
from workers.engine.denoise import DenoiserCall, denoise
from workers.engine.technique import Pictures, text_to_image
from workers.techniques.edit.flux2_edit.spec import Flux2EditParams
from workers.techniques.edit.flux2_edit.technique import TECHNIQUE

KEYS = pytest.mark.parametrize("keys", ["recomputed", "cached"])


@pytest.fixture
def undistilled(flux2: Flux2) -> Flux2:
    return Flux2(flux2.pipe, name="base", base="flux2-klein-base", fingerprint=flux2.fingerprint, dtype=torch.float32)


@KEYS
@pytest.mark.parametrize("content", [False, True])
def test_at_strength_0_the_style_images_are_left_out(flux2: Flux2, keys: str, content: bool) -> None:
    inputs = asked(2, content=content, strength=0.0, reference_keys=keys, template="like {styles}: {prompt}")
    without = replace(inputs, strength=1.0, pictures=Pictures((), inputs.pictures.content))
    assert torch.equal(made(inputs, flux2), made(without, flux2))


def test_without_pictures_it_is_plain_text_to_image(flux2: Flux2) -> None:
    inputs = replace(asked(0), params=Flux2EditParams())
    plain = text_to_image(inputs, context(flux2))
    denoise(flux2.predict, [plain])
    assert torch.equal(made(inputs, flux2), plain.latents)


@KEYS
@pytest.mark.parametrize("content", [False, True])
def test_the_effect_grows_with_the_strength(flux2: Flux2, keys: str, content: bool) -> None:
    def effect(strength: float) -> float:
        inputs = asked(1, content=content, strength=strength, reference_keys=keys, template="{prompt}")
        return float((made(inputs, flux2) - none).norm())

    none = made(asked(1, content=content, strength=0.0, reference_keys=keys), flux2)
    grows = [effect(strength) for strength in (1e-6, 0.25, 0.5, 0.75, 1.0)]
    assert all(less < more for less, more in pairwise(grows))
    if not content:  # which sees the style images itself, whatever their strength
        assert grows[0] < 1e-3 * grows[-1]


@KEYS
def test_style_weights_are_factors_on_the_attention_to_each(flux2: Flux2, keys: str) -> None:
    def weighed(*weights: float) -> torch.Tensor:
        return made(asked(2, reference_keys=keys, template="{prompt}", style_weights=weights), flux2)

    assert torch.equal(weighed(1.0, 1.0), weighed())
    assert not torch.allclose(weighed(1.0, 0.3), weighed(), atol=1e-3)
    assert not torch.allclose(weighed(1.0, 0.3), weighed(0.3, 1.0), atol=1e-3)


def test_a_bias_is_that_of_a_mask_over_the_models_own_attention(flux2: Flux2) -> None:
    inputs = asked(1, content=True, strength=0.5, steps=1)
    ours = TECHNIQUE.prepare(inputs, context(flux2))
    theirs = TECHNIQUE.prepare(inputs, context(flux2))
    text, picture, content, style = ours.positive.text.shape[1], 16, 16, 16
    mask = torch.zeros(text + picture + content + style, text + picture + content + style)
    mask[: text + picture, text + picture + content :] = torch.tensor(0.25).log()
    carried([ours], flux2)

    def masked(call: DenoiserCall) -> torch.Tensor:
        call.inputs["joint_attention_kwargs"] = {"attention_mask": mask}
        return flux2.predict(call)

    denoise(masked, [theirs])
    torch.testing.assert_close(ours.latents, theirs.latents, rtol=1e-3, atol=1e-4)


def test_the_order_of_the_pictures_counts(flux2: Flux2) -> None:
    inputs = asked(2)
    swapped = replace(inputs, pictures=Pictures(inputs.pictures.styles[::-1]))
    assert not torch.allclose(made(inputs, flux2), made(swapped, flux2), atol=1e-3)


@KEYS
def test_only_a_base_model_takes_guidance_and_a_negative_prompt(flux2: Flux2, undistilled: Flux2, keys: str) -> None:
    guided = asked(1, guidance_scale=4.0, negative_prompt="fog", reference_keys=keys)
    plain = asked(1, reference_keys=keys)
    assert torch.equal(made(guided, flux2), made(plain, flux2))
    assert torch.equal(made(plain, undistilled), made(plain, flux2))
    own, empty = made(guided, undistilled), made(replace(guided, negative_prompt=None), undistilled)
    assert not torch.allclose(own, made(plain, flux2), atol=1e-3)
    assert not torch.allclose(own, empty, atol=1e-3)


@KEYS
@pytest.mark.parametrize("strength", [0.5, 1.0])
def test_a_request_of_a_batch_is_what_it_is_alone(flux2: Flux2, keys: str, strength: float) -> None:
    one = asked(1, content=True, reference_keys=keys, strength=strength)
    other = asked(1, content=True, prompt="the sea", steps=3, reference_keys=keys, strength=strength)
    other = replace(other, pictures=Pictures(asked(3).pictures.styles[:1], asked(1).pictures.styles[0]))
    assert TECHNIQUE.batch_key(one, flux2) == TECHNIQUE.batch_key(other, flux2)
    with torch.no_grad():
        batch = [TECHNIQUE.prepare(each, context(flux2)) for each in (one, other)]
    for ours, alone in zip(carried(batch, flux2), (one, other), strict=True):
        torch.testing.assert_close(ours, made(alone, flux2), rtol=1e-3, atol=1e-3)


def test_what_cannot_share_a_call_has_another_batch_key(flux2: Flux2) -> None:
    keys = {
        TECHNIQUE.batch_key(inputs, flux2)
        for inputs in (
            asked(1),
            asked(2),
            asked(1, strength=0.0),
            asked(1, strength=0.5),
            asked(1, content=True),
            asked(1, reference_keys="cached"),
            asked(1, width=80),
        )
    }
    assert len(keys) == 7


@KEYS
@pytest.mark.parametrize("fails", [False, True])
def test_a_request_leaves_the_model_as_it_was(flux2: Flux2, keys: str, fails: bool) -> None:
    inputs = asked(1, strength=0.5, reference_keys=keys)
    # at its first call transformers puts hooks of its own on Qwen3
    flux2.condition(["another prompt"], None, guided=False, width=64, height=64)
    require_no_trace(TECHNIQUE, context(flux2), inputs, flux2.vae, flux2.pipe.text_encoder, fails=fails)
