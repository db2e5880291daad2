"""Fill: what is under the mask is repainted, or what is around the picture, and nothing else."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from tests.support.techniques.flux_requests import HEIGHT, SHORT, WIDTH, context_on, counted, inputs, installed, picture
from workers.engine.backbones.flux import Flux
from workers.engine.denoise import denoise
from workers.engine.errors import Refused
from workers.engine.images import from_signed
from workers.engine.technique import GenerationInputs, Pictures, PrepareContext
from workers.techniques import canvas
from workers.techniques.edit.fill.spec import FillParams
from workers.techniques.edit.fill.technique import TECHNIQUE

HOLE = (slice(8, 40), slice(24, 56))
"""Rows and columns that are repainted."""


@pytest.fixture
def context(flux_fill: Flux, tiny_root: Path) -> PrepareContext:
    return context_on(flux_fill, installed(tiny_root))


def hole() -> Image.Image:
    pixels = np.zeros((HEIGHT, WIDTH), np.uint8)
    pixels[HOLE] = 255
    return Image.fromarray(pixels)


def asked(content: Image.Image | None, mask: Image.Image | None = None, **more: Any) -> GenerationInputs:
    fields = {name: more.pop(name) for name in ("strength", "seeds", "steps") if name in more}
    params = FillParams(max_sequence_length=SHORT, **more)
    return inputs(params, Pictures(content=content, mask=mask), guidance_scale=30.0, **fields)


def drawn(request: GenerationInputs, context: PrepareContext) -> NDArray[np.uint8]:
    trajectory = TECHNIQUE.prepare(request, context)
    with TECHNIQUE.patch(context.backbone, [trajectory]) as hooks:
        denoise(context.backbone.predict, [trajectory], hooks=hooks)
    with torch.no_grad():
        made = Image.fromarray(from_signed(context.backbone.decode(trajectory.latents))[0])
    return np.asarray(trajectory.finish(made) if trajectory.finish else made)


def test_only_what_is_masked_is_repainted(context: PrepareContext) -> None:
    content = picture(1, (WIDTH, HEIGHT))
    made, before = drawn(asked(content, hole()), context), np.asarray(content)
    changed = (made != before).any(axis=2)
    assert changed[HOLE].mean() > 0.9
    changed[HOLE] = False
    assert not changed.any()


def test_well_inside_the_mask_is_what_the_model_painted(context: PrepareContext) -> None:
    content = picture(1, (WIDTH, HEIGHT))
    pasted, alone = (drawn(asked(content, hole(), keep=keep), context) for keep in ("paste", "none"))
    inside = slice(8 + 8, 40 - 8), slice(24 + 8, 56 - 8)
    assert np.array_equal(pasted[inside], alone[inside])
    assert (alone != np.asarray(content)).any(axis=2).mean() > 0.9, "the tiny VAE keeps nothing"


def test_nothing_under_the_mask_is_seen_at_full_strength(context: PrepareContext) -> None:
    first = picture(1, (WIDTH, HEIGHT))
    pixels = np.asarray(first).copy()
    pixels[HOLE] = 255 - pixels[HOLE]
    both = first, Image.fromarray(pixels)
    assert np.array_equal(*(drawn(asked(one, hole(), keep="none"), context) for one in both))
    assert not np.array_equal(*(drawn(asked(one, hole(), keep="none", strength=0.5), context) for one in both))


def test_less_strength_runs_less_of_the_schedule(context: PrepareContext) -> None:
    content = picture(1, (WIDTH, HEIGHT))
    steps = [TECHNIQUE.prepare(asked(content, hole(), steps=4, strength=s), context).steps for s in (0.0, 0.5, 1.0)]
    assert steps == [0, 2, 4]


@pytest.mark.parametrize("overlap", [0, 4, 8])
def test_around_a_picture_all_but_its_middle_is_painted(context: PrepareContext, overlap: int) -> None:
    content = picture(2, (32, 32))
    made = drawn(asked(content, left=16, top=0, overlap=overlap), context)
    rows, columns = slice(0, 32 - overlap), slice(16 + overlap, 48 - overlap)
    inner = np.asarray(content)[: 32 - overlap, overlap : 32 - overlap]
    assert np.array_equal(made[rows, columns], inner), "the edge that meets the canvas' own is kept whole"
    outside = np.ones((HEIGHT, WIDTH), bool)
    outside[0:32, 16:48] = False
    assert (made[outside] != 127).any(axis=1).mean() > 0.9


def test_left_or_top_alone_means_the_other_is_0() -> None:
    one = canvas.filled(asked(picture(2, (32, 32)), top=16), None, 16, 0)
    other = canvas.filled(asked(picture(2, (32, 32)), top=16), 0, 16, 0)
    assert one.mask.tobytes() == other.mask.tobytes()


def test_a_picture_is_encoded_once(context: PrepareContext) -> None:
    with counted(context.backbone.vae.encoder) as calls:
        for seed in (1, 2):
            TECHNIQUE.prepare(asked(picture(1), hole(), seeds=(seed,), strength=0.5), context)
    assert len(calls) == 2, "the picture and the picture with a hole"


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        (asked(picture(1)), "content_image with a mask_image"),
        (asked(None, hole()), "content_image"),
        (asked(picture(1), hole(), left=0), "not both"),
        (asked(picture(1, (60, 40)), left=8), "of 60x40 at left 8, top 0 does not fit into 64x48"),
    ],
)
def test_what_cannot_be_done_is_refused_in_words(
    context: PrepareContext, request_: GenerationInputs, words: str
) -> None:
    with pytest.raises(Refused, match=words):
        TECHNIQUE.prepare(request_, context)
