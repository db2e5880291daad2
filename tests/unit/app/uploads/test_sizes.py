"""Sizes that a method cannot draw are refused before the job is accepted, by the rule that its worker has."""

import json
from pathlib import Path
from typing import Any

import pytest

import model_store
from tests.support.gateway import Gateway
from tests.support.pictures import encoded, picture, style
from workers.techniques.shared_attention.style_aligned.spec import UNET_LEVELS, least_side

CONFIGS = Path(model_store.__file__).parent / "configs"
DCT = json.dumps({"statistic_type": "dct+pixel"})
LOW = json.dumps({"single_reference": "low-frequency"})
FAR = json.dumps({"single_reference": "low-frequency", "dct_indices": [[0, 0], [0, 16]]})
BAD: list[tuple[dict[str, Any], str]] = [
    ({"method": "style-aligned", "width": "128", "height": "120"}, "at least 128x128 pixels on sd15"),
    ({"method": "style-aligned", "width": "64", "height": "2048"}, "at least 128x128"),
    ({"method": "shared-attention", "width": "120"}, "at least 128x128"),
    ({"method": "signal-leak", "width": "128", "height": "136", "params": LOW}, "square pictures"),
    ({"method": "signal-leak", "width": "128", "height": "128", "params": FAR}, "dct_indices must be below 16"),
]
GOOD: list[dict[str, Any]] = [
    {"method": "style-aligned", "width": "128", "height": "128"},
    {"method": "style-aligned", "width": "128", "height": "120", "strength": "0"},
    {"method": "style-aligned", "width": "64", "height": "64", "model": "tiny-sdxl"},
    {"method": "signal-leak", "width": "128", "height": "136", "params": DCT},
    {"method": "signal-leak", "width": "136", "height": "136", "params": FAR},
]


@pytest.mark.parametrize(("fields", "words"), BAD)
def test_a_size_that_the_method_cannot_draw_is_refused(gateway: Gateway, fields: dict[str, Any], words: str) -> None:
    refused = gateway.post(fields)
    assert refused.status_code == 422, refused.text
    assert [fault["pointer"] for fault in refused.json()["errors"]] == ["#/width"]
    assert words in refused.json()["errors"][0]["detail"]


@pytest.mark.parametrize("fields", GOOD)
def test_a_size_that_it_can_draw_is_accepted(gateway: Gateway, fields: dict[str, Any]) -> None:
    gateway.accepted(fields)


def test_the_frequencies_of_several_pictures_need_a_square(gateway: Gateway) -> None:
    fields = {"width": "128", "height": "136", "params": DCT}
    files = [*style(), *style(encoded(picture(seed=1)))]
    assert "square" in gateway.post(fields, files).json()["errors"][0]["detail"]
    gateway.accepted(fields | {"style_weights": "1,0"}, files)


@pytest.mark.parametrize("base", UNET_LEVELS)
def test_the_rule_is_that_of_the_published_networks(base: Any) -> None:
    levels = {
        part: len(json.loads((CONFIGS / base / part / "config.json").read_bytes())["block_out_channels"])
        for part in ("unet", "vae")
    }
    assert least_side(UNET_LEVELS[base]) == 2 ** (levels["vae"] - 1) * 2 ** levels["unet"]
