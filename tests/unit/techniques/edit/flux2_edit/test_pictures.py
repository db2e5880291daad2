"""Which pictures FLUX.2 takes, at which size it sees them, and what it is told of them."""

import numpy as np
import pytest
from PIL import Image

from workers.engine.errors import Refused
from workers.techniques.edit.flux2_edit.pictures import ReferencePicture, fitted_sizes
from workers.techniques.edit.flux2_edit.prompts import told


def fitted(image: Image.Image, field: str, most: int, multiple: int) -> Image.Image:
    return ReferencePicture(image, *fitted_sizes(image.size, field, most, multiple)).image


@pytest.mark.parametrize(
    ("size", "most", "seen"),
    [
        ((64, 64), 1024, (64, 64)),
        ((90, 70), 1024, (80, 64)),
        ((1024, 1024), 1024, (1024, 1024)),
        ((2048, 1024), 1024, (1440, 720)),
        ((1024, 1024), 512, (512, 512)),
        ((512, 64), 1024, (512, 64)),
    ],
)
def test_a_picture_is_scaled_to_the_area_and_cropped_to_whole_cells(
    size: tuple[int, int], most: int, seen: tuple[int, int]
) -> None:
    assert fitted(Image.new("RGB", size), "style_image", most, 16).size == seen


def test_the_middle_is_kept() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (70, 91, 3), dtype=np.uint8)
    assert np.array_equal(fitted(Image.fromarray(pixels), "style_image", 1024, 16), pixels[3:67, 5:85])


@pytest.mark.parametrize(
    ("size", "words"),
    [
        ((63, 200), "content_image must be at least 64 pixels wide and high, not 63x200"),
        ((64, 513), "content_image must be at most 8 times as long as wide, not 64x513"),
        ((1025, 128), "content_image must be at most 8 times as long as wide, not 1025x128"),
    ],
)
def test_a_picture_that_is_too_small_or_too_long_is_refused(size: tuple[int, int], words: str) -> None:
    with pytest.raises(Refused, match=words):
        fitted(Image.new("RGB", size), "content_image", 1024, 16)


@pytest.mark.parametrize(
    ("content", "styles", "text"),
    [
        (True, 0, "a boat"),
        (
            True,
            1,
            "image 1 rendered in the style of image 2: its medium, palette, line and light, not its objects. a boat",
        ),
        (False, 1, "a boat, in the style of image 1: its medium, palette, line and light, not its objects."),
        (
            True,
            3,
            "image 1 rendered in the style of images 2, 3 and 4: their medium, palette, line and light, "
            "not their objects. a boat",
        ),
        (False, 2, "a boat, in the style of images 1 and 2: their medium, palette, line and light, not their objects."),
    ],
)
def test_the_model_is_told_what_each_picture_gives(content: bool, styles: int, text: str) -> None:
    assert told("a boat", None, content=content, styles=styles) == text


def test_a_template_stands_in_place_of_it_where_style_images_count() -> None:
    template = "like {styles}: {prompt}"
    assert told("a {styles} boat", template, content=True, styles=2) == "like images 2 and 3: a {styles} boat"
    assert told("a boat", template, content=True, styles=0) == "a boat"
