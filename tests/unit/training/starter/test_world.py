import hashlib

import numpy as np
import pytest

from workers.training.starter.dataset import CHUNK, Portion, chunk_specs, load_pictures
from workers.training.starter.split import HELD_OUT_INSTANCES, is_held_out, pairs
from workers.training.starter.world.objects import OBJECTS
from workers.training.starter.world.palette import COLOUR_WORDS, random_palette
from workers.training.starter.world.picture import PictureSpec, draw
from workers.training.starter.world.registry import STYLES
from workers.training.starter.world.scene import Placement, build_scene


def test_the_world_is_as_large_as_promised() -> None:
    assert len(OBJECTS) >= 24
    assert len(STYLES) >= 14


@pytest.mark.parametrize("style", STYLES)
def test_a_picture_depends_on_nothing_but_its_specification(style: str) -> None:
    spec = PictureSpec("house", 5, style, 9)
    first, second = draw(spec), draw(spec)
    assert first.shape == (128, 128, 3)
    assert first.dtype == np.uint8
    assert np.array_equal(first, second)


@pytest.mark.parametrize("style", STYLES)
def test_style_and_scene_seeds_both_matter(style: str) -> None:
    picture = draw(PictureSpec("tree", 1, style, 1))
    assert not np.array_equal(picture, draw(PictureSpec("tree", 2, style, 1)))
    assert not np.array_equal(picture, draw(PictureSpec("tree", 1, style, 2)))


@pytest.mark.parametrize("name", OBJECTS)
def test_every_object_draws_inside_the_picture(name: str) -> None:
    for seed in range(3):
        scene = build_scene(name, seed)
        points = np.concatenate([region.points for region in scene.regions])
        assert np.abs(points).max() < 1.25
        assert np.ptp(points[:, 0]) > 0.3
        picture = draw(PictureSpec(name, seed, "flat", seed))
        assert len(np.unique(picture.reshape(-1, 3), axis=0)) > 3


def test_one_scene_is_the_same_content_in_every_style() -> None:
    assert build_scene("cat", 3).regions[0].points.tolist() == build_scene("cat", 3).regions[0].points.tolist()
    digests = {hashlib.sha256(draw(PictureSpec("cat", 3, style, 0)).tobytes()).hexdigest() for style in STYLES}
    assert len(digests) == len(STYLES)


def test_the_colour_word_colours_the_object() -> None:
    palette = random_palette(np.random.default_rng(0))
    red, blue = palette.with_main("red").main, palette.with_main("blue").main
    assert red.argmax() == 0
    assert blue.argmax() == 2
    assert palette.with_main("red").sky is palette.sky
    assert len(COLOUR_WORDS) == 8


def test_scene_words_follow_the_scene() -> None:
    words = {(build_scene("cup", seed).size_word, build_scene("cup", seed).place_word) for seed in range(60)}
    assert {size for size, _ in words} == {"small", "", "large"}
    assert {place for _, place in words} == {"left", "", "right"}


def test_the_split_holds_out_pairs_but_no_object_and_no_style() -> None:
    unseen = pairs(tuple(OBJECTS), tuple(STYLES), held_out=True)
    seen = pairs(tuple(OBJECTS), tuple(STYLES), held_out=False)
    assert len(unseen) == 4 * (len(STYLES) - 1)
    assert not set(unseen) & set(seen)
    assert {name for name, _ in seen} == set(OBJECTS)
    assert {style for _, style in seen} == set(STYLES)
    assert not any(is_held_out(name, "flat") for name in OBJECTS)


def portion(**changes: object) -> Portion:
    facts: dict[str, object] = {"objects": tuple(OBJECTS), "styles": ("neon", "oil"), "placement": Placement()}
    return Portion(**(facts | {"pictures": 4} | changes))  # type: ignore[arg-type]


def test_training_never_draws_what_is_held_out() -> None:
    specs = chunk_specs(portion(), 0)
    assert len(specs) == CHUNK
    assert not any(is_held_out(spec.object_name, spec.style) for spec in specs)
    assert all(spec.style_seed < HELD_OUT_INSTANCES for spec in specs)


def test_judged_pictures_are_unseen_pairs_in_unseen_instances() -> None:
    specs = chunk_specs(portion(pairs="unseen", unseen_instances=True), 0)
    assert all(is_held_out(spec.object_name, spec.style) for spec in specs)
    assert all(spec.style_seed >= HELD_OUT_INSTANCES for spec in specs)


def test_neighbours_share_the_style_and_differ_in_the_object() -> None:
    specs = chunk_specs(portion(), 3)
    for left, right in zip(specs[::2], specs[1::2], strict=True):
        assert (left.style, left.style_seed) == (right.style, right.style_seed)
        assert left.object_name != right.object_name


def test_drawn_chunks_are_kept_and_read_again(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("workers.training.starter.dataset.CHUNK", 4)
    first = load_pictures(portion(styles=("flat",)), tmp_path)
    monkeypatch.setattr("workers.training.starter.dataset.draw", None)
    again = load_pictures(portion(styles=("flat",)), tmp_path)
    assert len(first) == 4
    assert first.specs == again.specs
    assert np.array_equal(first.images, again.images)
