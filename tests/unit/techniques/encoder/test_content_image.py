"""The size at which a content image is painted again."""

import pytest
from PIL import Image

from tests.support.techniques.encoder_samples import inputs, picture
from workers.engine.technique import GenerationInputs, Pictures
from workers.techniques.encoder import content_image
from workers.techniques.encoder.csgo.spec import CSGOParams

BICUBIC = Image.Resampling.BICUBIC


def asked(size: tuple[int, int], box: tuple[int, int] = (1024, 1024)) -> GenerationInputs:
    pictures = Pictures((picture(),), picture(1, size))
    return inputs(CSGOParams(), width=box[0], height=box[1], pictures=pictures)


@pytest.mark.parametrize(
    ("size", "box", "expected"),
    [
        ((2000, 1000), (1024, 1024), (1024, 512)),
        ((500, 400), (1024, 1024), (1024, 816)),
        ((400, 500), (1024, 1024), (816, 1024)),
        ((1000, 1000), (1280, 1280), (1280, 1280)),
        ((3000, 10), (1024, 1024), (1024, 16)),
        ((100, 100), (128, 192), (128, 128)),
        ((100, 101), (100, 101), (100, 101)),
    ],
)
def test_the_result_has_the_contents_proportions(
    size: tuple[int, int], box: tuple[int, int], expected: tuple[int, int]
) -> None:
    assert content_image.result_size(asked(size, box), "content", 16) == expected
    assert content_image.fitted(asked(size, box), "content", 16, BICUBIC).size == expected


def test_a_content_image_of_the_size_is_taken_as_it_is() -> None:
    one = asked((120, 88), (120, 88))
    fitted = content_image.fitted(one, "content", 64, BICUBIC)
    assert one.pictures.content is not None
    assert fitted.tobytes() == one.pictures.content.tobytes()


def test_exact_covers_and_crops() -> None:
    assert content_image.fitted(asked((200, 50), (96, 128)), "exact", 64, BICUBIC).size == (96, 128)


def test_twice_scales_before_it_rounds() -> None:
    one = asked((301, 200), (192, 192))
    assert one.pictures.content is not None
    once = one.pictures.content.resize((192, 127), BICUBIC).resize((192, 64), BICUBIC)
    assert content_image.fitted(one, "content", 64, BICUBIC, twice=True).tobytes() == once.tobytes()
