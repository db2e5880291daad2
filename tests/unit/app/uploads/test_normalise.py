"""A picture becomes what a viewer would show."""

import struct
from io import BytesIO
from typing import Any

import pytest
from PIL import Image, ImageCms

from app.uploads.decoder.normalise import encode, normalise
from app.uploads.limits import LONG_SIDE, PictureFileRefused, Verdict
from tests.security.corpus.png import chunk, png
from tests.support.pictures import encoded, picture


def shown(data: bytes) -> Image.Image:
    return normalise(BytesIO(data))


def refused(data: bytes) -> Verdict:
    with pytest.raises(PictureFileRefused) as caught:
        shown(data)
    return caught.value.verdict


def close(got: Any, wanted: tuple[int, int, int], tolerance: int = 3) -> bool:
    return all(abs(a - b) <= tolerance for a, b in zip(got, wanted, strict=True))


@pytest.mark.parametrize(("kind", "options"), [("PNG", {}), ("JPEG", {"quality": 95}), ("WEBP", {"lossless": True})])
def test_each_format_keeps_its_colours(kind: str, options: dict[str, Any]) -> None:
    original = picture(size=(64, 48))
    result = shown(encoded(original, kind, **options))
    assert (result.mode, result.size) == ("RGB", (64, 48))
    for at in ((10, 10), (32, 24), (60, 40)):
        assert close(result.getpixel(at), original.getpixel(at), 6)


def test_the_png_we_store_is_the_picture_without_metadata() -> None:
    original = picture()
    original.info["comment"] = "secret"
    stored = BytesIO()
    encode(
        shown(encoded(original, "PNG", icc_profile=ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())),
        stored,
    )
    again = Image.open(BytesIO(stored.getvalue()))
    assert again.tobytes() == original.tobytes()
    assert not again.info


def test_grey_becomes_rgb() -> None:
    assert shown(encoded(Image.new("L", (20, 20), 77))).getpixel((5, 5)) == (77, 77, 77)


def test_black_and_white_becomes_rgb() -> None:
    assert shown(encoded(Image.new("1", (20, 20), 1))).getpixel((5, 5)) == (255, 255, 255)


def test_a_palette_is_looked_up() -> None:
    image = Image.new("P", (20, 20), 1)
    image.putpalette([0, 0, 0, 200, 100, 50])
    assert shown(encoded(image)).getpixel((5, 5)) == (200, 100, 50)


def test_a_transparent_palette_entry_is_white() -> None:
    image = Image.new("P", (20, 20), 1)
    image.putpalette([0, 0, 0, 200, 100, 50])
    assert shown(encoded(image, transparency=1)).getpixel((5, 5)) == (255, 255, 255)


@pytest.mark.parametrize(("mode", "key", "value"), [("RGB", (9, 8, 7), (9, 8, 7)), ("L", 9, 9)])
def test_a_transparent_colour_is_white(mode: str, key: Any, value: Any) -> None:
    assert shown(encoded(Image.new(mode, (20, 20), value), transparency=key)).getpixel((5, 5)) == (255, 255, 255)


@pytest.mark.parametrize(
    ("mode", "value", "wanted"),
    [
        ("RGBA", (200, 0, 0, 0), (255, 255, 255)),
        ("RGBA", (200, 0, 0, 255), (200, 0, 0)),
        ("RGBA", (0, 0, 0, 128), (127, 127, 127)),
        ("LA", (0, 128), (127, 127, 127)),
    ],
)
def test_alpha_lies_over_white(mode: str, value: Any, wanted: tuple[int, int, int]) -> None:
    assert close(shown(encoded(Image.new(mode, (20, 20), value))).getpixel((5, 5)), wanted, 1)


@pytest.mark.parametrize("value", [0, 255, 256, 12345, 32768, 65535])
def test_sixteen_bits_of_grey_show_their_high_byte(value: int) -> None:
    grey = shown(encoded(Image.new("I;16", (20, 20), value))).getpixel((5, 5))
    assert close(grey, (value // 256,) * 3, 1)


def test_cmyk_becomes_rgb() -> None:
    image = Image.new("CMYK", (20, 20), (0, 255, 255, 0))
    red, green, blue = shown(encoded(image, "JPEG", quality=95)).getpixel((5, 5))
    assert red > 200
    assert max(green, blue) < 60


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_applied(orientation: int) -> None:
    upright = Image.new("RGB", (32, 20), "white")
    upright.paste((200, 0, 0), (0, 0, 16, 10))  # the corner at the top left is red
    back = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # what undoes each turn, as Image.Transpose
    stored = upright.transpose(Image.Transpose(back[orientation])) if orientation > 1 else upright
    exif = Image.Exif()
    exif[0x0112] = orientation
    result = shown(encoded(stored, "PNG", exif=exif))
    assert result.size == (32, 20)
    assert result.getpixel((2, 2)) == (200, 0, 0)
    assert result.getpixel((30, 18)) == (255, 255, 255)


def test_damaged_exif_is_no_reason_to_refuse() -> None:
    assert shown(encoded(picture(), "JPEG", exif=b"Exif\x00\x00II*\x00\xff\xff\xff\xff")).size == (40, 30)


def linear_profile() -> bytes:
    """An ICC profile with the primaries of sRGB and a gamma of 1."""

    def xyz(*values: float) -> bytes:
        return b"XYZ \0\0\0\0" + struct.pack(">3i", *(round(value * 65536) for value in values))

    curve = b"curv\0\0\0\0" + struct.pack(">IHH", 1, 256, 0)
    described = b"desc\0\0\0\0" + struct.pack(">I", 7) + b"linear\0" + bytes(78 + 3)
    tags = {
        b"desc": described,
        b"cprt": b"text\0\0\0\0none\0\0\0\0",
        b"wtpt": xyz(0.9642, 1.0, 0.8249),
        b"rXYZ": xyz(0.4361, 0.2225, 0.0139),
        b"gXYZ": xyz(0.3851, 0.7169, 0.0971),
        b"bXYZ": xyz(0.1431, 0.0606, 0.7141),
        b"rTRC": curve,
        b"gTRC": curve,
        b"bTRC": curve,
    }
    at, table, body = 128 + 4 + 12 * len(tags), b"", b""
    for name, value in tags.items():
        padded = value + bytes(-len(value) % 4)
        table += struct.pack(">4sII", name, at + len(body), len(value))
        body += padded
    head = struct.pack(">I4sI4s4s4s12x4s", at + len(body), b"lcms", 0x02100000, b"mntr", b"RGB ", b"XYZ ", b"acsp")
    head += bytes(28) + struct.pack(">3i", 63190, 65536, 54061)
    return head.ljust(128, b"\0") + struct.pack(">I", len(tags)) + table + body


def test_a_colour_profile_is_converted_to_srgb() -> None:
    image = Image.new("RGB", (20, 20), (55, 55, 55))
    assert close(shown(encoded(image, icc_profile=linear_profile())).getpixel((5, 5)), (128, 128, 128), 2)


def test_a_profile_of_another_kind_of_colour_is_dropped() -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    image = Image.new("RGB", (20, 20), (10, 200, 30))
    assert shown(encoded(image, icc_profile=profile)).getpixel((5, 5)) == (10, 200, 30)


def test_a_damaged_profile_is_dropped() -> None:
    assert shown(encoded(Image.new("RGB", (20, 20), (10, 200, 30)), icc_profile=b"no profile")).getpixel((5, 5)) == (
        10,
        200,
        30,
    )


def test_a_large_picture_is_shrunk() -> None:
    assert shown(encoded(Image.new("L", (LONG_SIDE * 2, 1000)))).size == (LONG_SIDE, 500)


def test_a_camera_picture_with_a_second_frame_is_its_first() -> None:
    first, second = Image.new("RGB", (40, 30), (200, 0, 0)), Image.new("RGB", (40, 30), (0, 0, 200))
    data = encoded(first, "MPO", save_all=True, append_images=[second])
    assert close(shown(data).getpixel((5, 5)), (200, 0, 0), 4)


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_animations_are_refused(kind: str) -> None:
    frames = [Image.new("RGB", (20, 20), colour) for colour in ("red", "blue", "green")]
    assert refused(encoded(frames[0], kind, save_all=True, append_images=frames[1:], duration=50)) is Verdict.ANIMATED


@pytest.mark.parametrize(
    ("size", "verdict"),
    [
        ((1, 1), Verdict.TOO_SMALL),
        ((15, 100), Verdict.TOO_SMALL),
        ((8193, 16), Verdict.TOO_LARGE),
        ((8000, 7500), Verdict.TOO_MANY_PIXELS),
        ((6000, 5334), Verdict.TOO_MANY_PIXELS),
    ],
)
def test_sizes_out_of_bounds_are_refused(size: tuple[int, int], verdict: Verdict) -> None:
    assert refused(encoded(Image.new("1", size))) is verdict


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_truncated_pictures_are_refused(kind: str, share: float) -> None:
    data = encoded(picture(size=(200, 200)), kind)
    assert refused(data[: int(len(data) * share)]) is Verdict.UNREADABLE


@pytest.mark.parametrize("kind", ["GIF", "TIFF", "BMP", "ICO", "PPM", "PCX", "TGA"])
def test_other_formats_are_refused(kind: str) -> None:
    assert refused(encoded(picture(), kind)) is Verdict.UNREADABLE


@pytest.mark.parametrize("interlaced", [0, 1])
def test_a_small_png_with_damaged_pixels_is_not_taken_for_black(interlaced: int) -> None:
    noise = png(32, 32, chunk(b"IDAT", bytes(range(256)) * 8), rest=bytes([0, 0, interlaced]))
    assert refused(noise) is Verdict.UNREADABLE


HALF = (20, 0, 40, 30)
"""The right half of a picture of 40 x 30 pixels."""


def halved(mode: str, left: object, right: object) -> Image.Image:
    image = Image.new(mode, (40, 30), left)  # type: ignore[arg-type]
    image.paste(right, HALF)  # type: ignore[arg-type]
    return image


@pytest.mark.parametrize(
    ("mask", "greys"),
    [
        (halved("L", 0, 255), (0, 255)),
        (halved("1", 0, 1), (0, 255)),
        (halved("RGB", (0, 0, 0), (255, 255, 255)), (0, 255)),
        (halved("RGBA", (9, 99, 0, 255), (9, 99, 0, 0)), (0, 255)),
        (halved("LA", (255, 255), (255, 55)), (0, 200)),
        (halved("RGBA", (0, 0, 0, 255), (255, 255, 255, 255)), (0, 255)),
    ],
    ids=["grey", "bits", "colours", "alpha", "half transparent", "opaque"],
)
def test_white_is_repainted_or_what_is_transparent(mask: Image.Image, greys: tuple[int, int]) -> None:
    found = normalise(BytesIO(encoded(mask)), is_mask=True)
    assert found.mode == "L"
    assert (found.getpixel((5, 5)), found.getpixel((35, 5))) == greys


@pytest.mark.parametrize("mask", [Image.new("L", (40, 30), 127), Image.new("RGBA", (40, 30), (0, 0, 0, 255))])
def test_a_mask_that_keeps_all_is_refused(mask: Image.Image) -> None:
    with pytest.raises(PictureFileRefused, match="nothing to repaint") as caught:
        normalise(BytesIO(encoded(mask)), is_mask=True)
    assert caught.value.verdict is Verdict.NOTHING_REPAINTED
