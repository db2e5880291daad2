"""What is chosen before anything runs: layers by index, sizes, the parameters' own rules."""

import pytest
from PIL import Image
from pydantic import ValidationError

from tests.support.techniques.injection_requests import ordered
from workers.engine.backbones.stable_diffusion import StableDiffusion
from workers.engine.errors import Refused
from workers.techniques.injection.style_id import layers, sizes
from workers.techniques.injection.style_id.spec import SPEC, StyleIdParams


def test_indices_name_the_decoders_self_attention(sd15: StableDiffusion) -> None:
    names = [layer.name for layer in layers.chosen(sd15.denoiser, (6, 11))]
    assert names == [
        "up_blocks.2.attentions.0.transformer_blocks.0.attn1",
        "up_blocks.3.attentions.2.transformer_blocks.0.attn1",
    ]


def test_every_transformer_block_of_an_index_is_taken(sdxl: StableDiffusion) -> None:
    chosen = layers.chosen(sdxl.denoiser, StyleIdParams().layers("sdxl"))
    depth = len(sdxl.denoiser.up_blocks[1].attentions[1].transformer_blocks)
    assert len(chosen) == 2 * depth
    assert {name.name.split(".transformer")[0] for name in chosen} == {
        "up_blocks.1.attentions.1",
        "up_blocks.1.attentions.2",
    }


def test_layers_know_their_tokens(sd15: StableDiffusion) -> None:
    (coarse,), (fine,) = layers.chosen(sd15.denoiser, (6,)), layers.chosen(sd15.denoiser, (9,))
    assert (coarse.tokens(8, 8), fine.tokens(8, 8)) == (16, 64)
    assert coarse.tokens(9, 7) == 5 * 4


@pytest.mark.parametrize("index", [0, 2])
def test_an_index_without_attention_is_refused_with_those_that_have(sd15: StableDiffusion, index: int) -> None:
    with pytest.raises(Refused, match=rf"{index} have no self-attention .* 3, 4, 5, 6, 7, 8, 9, 10, 11 have"):
        layers.chosen(sd15.denoiser, (index, 7))


def test_the_defaults_are_the_authors() -> None:
    diffusers, ldm = StyleIdParams(), StyleIdParams(schedule="ldm")
    assert (diffusers.layers("sd15"), ldm.layers("sd15")) == ((7, 8, 9, 10, 11), (6, 7, 8, 9, 10, 11))
    assert (diffusers.eps(), ldm.eps(), StyleIdParams(schedule="ldm", adain_eps=0.1).eps()) == (1e-4, 0.0, 0.1)
    assert StyleIdParams(injection_layers=(9,)).layers("sd15") == (9,)


@pytest.mark.parametrize(
    "wrong",
    [
        {"gamma": 1.1},
        {"temperature": 0},
        {"injection_layers": (12,)},
        {"injection_layers": (7, 7)},
        {"start_step": 49},
        {"schedule": "ldm", "start_step": 0},
        {"inversion_guidance_scale": -1},
        {"steps": 3},
    ],
)
def test_wrong_knobs_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        StyleIdParams.model_validate(wrong)


def test_knobs_survive_json() -> None:
    given = StyleIdParams(schedule="ldm", start_step=49, injection_layers=(6, 7))
    assert StyleIdParams.model_validate_json(given.model_dump_json()) == given
    assert StyleIdParams.model_validate_json(StyleIdParams().model_dump_json()) == StyleIdParams()


@pytest.mark.parametrize(
    ("size", "area", "expected"),
    [
        ((64, 64), 64 * 64, (64, 64)),
        ((384, 256), 512 * 512, (384, 256)),
        ((500, 375), 512 * 512, (496, 368)),
        ((2048, 1536), 512 * 512, (584, 440)),
        ((1536, 2048), 512 * 512, (440, 584)),
        ((20, 30), 512 * 512, (64, 64)),
        ((2048, 16), 512 * 512, (2048, 64)),
        ((2048, 16), 64 * 64, (64, 64)),
    ],
)
def test_the_result_has_the_contents_size_within_the_area(
    size: tuple[int, int], area: int, expected: tuple[int, int]
) -> None:
    assert sizes.bounded(size, area, 8) == expected
    assert expected[0] * expected[1] <= area


def test_both_pictures_get_the_results_size() -> None:
    content = Image.new("RGB", (96, 64))
    whole = sizes.fitted(ordered(content=content, width=256, height=256), 8)
    cropped = sizes.fitted(ordered(StyleIdParams(fit="exact"), content=content, width=128, height=72), 8)
    assert whole == sizes.Sizes((96, 64), (96, 64))
    assert cropped == sizes.Sizes((128, 72), (128, 72))


def test_the_spec_asks_for_one_style_and_a_content_picture() -> None:
    assert SPEC.inputs.references == (1, 1)
    assert SPEC.inputs.content_image == "required"
    assert SPEC.cost.row_passes + SPEC.cost.style_passes + SPEC.cost.content_passes == 3
