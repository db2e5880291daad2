"""Redux with Fill: both layouts, the target alone is returned, what is kept is kept exactly."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from tests.support.techniques.flux_requests import HEIGHT, SHORT, WIDTH, counted, inputs, picture
from workers.engine.backbones.latent_preview import frame
from workers.engine.cache.style_cache import RequestCache, StyleCache
from workers.engine.cache.tiers import MemoryTier
from workers.engine.denoise import denoise
from workers.engine.errors import Refused
from workers.engine.images import from_signed
from workers.engine.technique import GenerationInputs, Pictures, PrepareContext
from workers.techniques.encoder.redux_fill.spec import ReduxFillParams
from workers.techniques.encoder.redux_fill.technique import TECHNIQUE
from workers.techniques.encoder.redux_tokens import get_encoder

LEFT_HALF = (0, 0, WIDTH // 2, HEIGHT)


def asked(*, style: int = 1, content: bool = False, mask: bool = False, **more: Any) -> GenerationInputs:
    fields = {name: more.pop(name) for name in ("strength", "seeds") if name in more}
    hole = Image.new("L", (WIDTH, HEIGHT), 0)
    hole.paste(255, LEFT_HALF)
    shown = picture(7, (WIDTH, HEIGHT)) if content else None
    pictures = Pictures((picture(style),), shown, mask=hole if mask else None)
    return inputs(
        ReduxFillParams(max_sequence_length=SHORT, **more), pictures, guidance_scale=30.0, **{"strength": 0.7} | fields
    )


def drawn(request: GenerationInputs, context: PrepareContext) -> Image.Image:
    trajectory = TECHNIQUE.prepare(request, context)
    with TECHNIQUE.patch(context.backbone, [trajectory]) as hooks:
        denoise(context.backbone.predict, [trajectory], hooks=hooks)
    with torch.no_grad():
        whole = Image.fromarray(from_signed(context.backbone.decode(trajectory.latents))[0])
    assert trajectory.finish is not None
    return trajectory.finish(whole)


@pytest.mark.parametrize("layout", ["diptych", "tokens"])
def test_what_is_kept_of_a_content_picture_is_the_same_to_the_byte(on_fill: PrepareContext, layout: str) -> None:
    request = asked(layout=layout, content=True, mask=True)
    made = np.asarray(drawn(request, on_fill))
    content = np.asarray(request.pictures.content)
    assert np.array_equal(made[:, WIDTH // 2 :], content[:, WIDTH // 2 :])
    assert not np.array_equal(made[:, : WIDTH // 2], content[:, : WIDTH // 2])


def test_of_a_diptych_the_target_is_returned(on_fill: PrepareContext) -> None:
    trajectory = TECHNIQUE.prepare(asked(), on_fill)
    assert trajectory.latents.shape[-2:] == (HEIGHT // 8, 2 * WIDTH // 8)
    assert drawn(asked(), on_fill).size == (WIDTH, HEIGHT)
    assert ReduxFillParams().denoised_size(WIDTH, HEIGHT) == (2 * WIDTH, HEIGHT)
    assert ReduxFillParams(layout="tokens").denoised_size(WIDTH, HEIGHT) == (WIDTH, HEIGHT)


@pytest.mark.parametrize("layout", ["diptych", "tokens"])
def test_without_strength_nothing_of_the_style_is_seen(on_fill: PrepareContext, layout: str) -> None:
    pictured: dict[str, Any] = {"layout": layout, "content": True, "mask": True}
    none = [drawn(asked(style=style, strength=0.0, **pictured), on_fill).tobytes() for style in (1, 2)]
    some = [drawn(asked(style=style, **pictured), on_fill).tobytes() for style in (1, 2)]
    assert none[0] == none[1]
    assert len({*none, *some}) == 3


def test_around_a_content_picture_with_tokens(on_fill: PrepareContext) -> None:
    content = picture(7, (32, 16))
    request = asked(layout="tokens", left=16, top=16, overlap=0)
    made = drawn(inputs(request.params, Pictures((picture(1),), content), strength=0.7), on_fill)
    assert np.array_equal(np.asarray(made)[16:32, 16:48], np.asarray(content))


def test_a_preview_shows_the_target_alone(on_fill: PrepareContext) -> None:
    for layout in ("diptych", "tokens"):
        trajectory = TECHNIQUE.prepare(asked(layout=layout, content=True, mask=True), on_fill)
        shown = frame(on_fill.backbone, trajectory, 1)
        assert shown is not None
        drawn_small = shown.draw()
        assert drawn_small is not None
        assert drawn_small.size == (WIDTH // 8, HEIGHT // 8)


def test_a_style_prepared_in_advance_needs_no_encoder(on_fill: PrepareContext) -> None:
    TECHNIQUE.prepare_style(asked(), on_fill)
    with counted(on_fill.backbone.vae.encoder, get_encoder(on_fill)._tower) as calls:
        TECHNIQUE.prepare(asked(seeds=(9,)), on_fill)
    assert calls == []


def test_the_canvas_of_a_style_is_encoded_once(on_fill: PrepareContext) -> None:
    with counted(on_fill.backbone.vae.encoder) as calls:
        for seed in (1, 2):
            TECHNIQUE.prepare(asked(seeds=(seed,)), on_fill)
    assert len(calls) == 1


@pytest.mark.parametrize("beside", [{}, {"content": True, "mask": True}])
def test_a_canvas_goes_with_the_style_image_on_it(on_fill: PrepareContext, beside: dict[str, Any]) -> None:
    cache = StyleCache([MemoryTier("host", 1 << 28)])
    mine = replace(on_fill, cache=RequestCache(cache, ["a" * 64]))
    TECHNIQUE.prepare(asked(**beside), mine)
    held = cache.bytes()["host"]
    cache.forget(["a" * 64])
    assert held > cache.bytes()["host"] == 0


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        (asked(content=True), "go together"),
        (asked(mask=True), "go together"),
        (asked(left=8), "params.layout tokens"),
        (asked(layout="tokens"), "content_image with a mask_image"),
        (asked(layout="tokens", content=True, mask=True, left=0), "not both"),
        (asked(layout="tokens", content=True, left=8), "does not fit"),
    ],
)
def test_what_cannot_be_done_is_refused_in_words(
    on_fill: PrepareContext, request_: GenerationInputs, words: str
) -> None:
    with pytest.raises(Refused, match=words):
        TECHNIQUE.prepare(request_, on_fill)
