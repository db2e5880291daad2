"""The transparent colour of a PNG without alpha channel, compared at the full depth of its samples; masks by alpha."""

from io import BytesIO

from PIL import Image, ImageChops

from app.uploads.decoder.picture_file import ColourKey

DEEP = 16
LOW_BYTES = "RGB;16L"
"""Pillow's word for samples of which the second byte is to be taken: in a PNG that is the low one."""


def with_alpha(picture: Image.Image, pixels: bytes, key: ColourKey) -> Image.Image:
    """Return an opened PNG, and the bytes it was opened from, as LA or RGBA: transparent in one colour."""
    if len(key.samples) == 1:
        shown, alpha = _grey(picture, key.samples[0], key.depth)
    else:
        shown = picture.convert("RGB")
        highs = tuple(sample >> (key.depth - 8) for sample in key.samples)
        alpha = _differs(shown, highs)
        if key.depth == DEEP:
            lows = tuple(sample & 255 for sample in key.samples)
            alpha = ImageChops.lighter(alpha, _differs(_low_bytes(pixels), lows))
    shown.putalpha(alpha)
    return shown


def high_bytes(picture: Image.Image) -> Image.Image:
    """Return 16 bits of grey as they are shown: by their high byte."""
    return picture.point(lambda value: value * (1 / 256)).convert("L")


def repainted(picture: Image.Image) -> Image.Image:
    """Return a mask as grey, 255 for what is repainted: what is transparent; where nothing is, what is white."""
    if picture.mode in ("LA", "RGBA"):
        alpha = picture.getchannel("A")
        if alpha.getextrema() != (255, 255):
            return ImageChops.invert(alpha)
    return picture.convert("L")


def _grey(picture: Image.Image, sample: int, depth: int) -> tuple[Image.Image, Image.Image]:
    if depth == DEEP:
        return high_bytes(picture), picture.convert("I").point(_opaque_but(sample, 1 << DEEP), "L")
    shown = picture.convert("L")
    return shown, shown.point(_opaque_but(sample * 255 // ((1 << depth) - 1), 256))


def _differs(picture: Image.Image, colour: tuple[int, ...]) -> Image.Image:
    """Return 255 where a picture differs from a colour in any channel, else 0."""
    masks = [picture.getchannel(n).point(_opaque_but(sample, 256)) for n, sample in enumerate(colour)]
    return ImageChops.lighter(ImageChops.lighter(masks[0], masks[1]), masks[2])


def _opaque_but(transparent: int, values: int) -> list[int]:
    table = [255] * values
    table[transparent] = 0
    return table


def _low_bytes(pixels: bytes) -> Image.Image:
    with Image.open(BytesIO(pixels), formats=("PNG",)) as opened:
        (tile,) = opened.tile
        opened.tile = [tile._replace(args=LOW_BYTES)]
        opened.load()
        return opened.copy()
