"""Bytes to bounded RGB: one picture as a viewer would show it. Runs only in the decoder's throw-away children."""

import io
import warnings
from typing import BinaryIO

from PIL import Image, ImageCms, ImageFile

from app.uploads.limits import FORMATS, LONG_SIDE, MAX_PIXELS, MAX_SIDE, MIN_SIDE, PictureFileRefused, Verdict

PILLOW_FAULTS = (OSError, SyntaxError, ValueError, Image.DecompressionBombError, Image.DecompressionBombWarning)
"""All that Pillow raises for hostile bytes; anything else is a bug and ends the child."""

ORIENTATION_TAG = 0x0112
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
PLAIN_MODES = frozenset({"L", "LA", "RGB", "RGBA", "CMYK"})


def normalise(source: BinaryIO) -> Image.Image:
    """Return the picture in `source` upright, in sRGB over white, at most LONG_SIDE pixels long, without metadata.

    Raises PictureFileRefused.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            return _normalise(source)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as bomb:
        raise PictureFileRefused(Verdict.TOO_MANY_PIXELS) from bomb
    except PILLOW_FAULTS as fault:
        raise PictureFileRefused(Verdict.UNREADABLE) from fault


def encode(picture: Image.Image, target: BinaryIO) -> None:
    """Write a picture as PNG, fast rather than small."""
    picture.save(target, "PNG", compress_level=1)


def _normalise(source: BinaryIO) -> Image.Image:
    with Image.open(source, formats=FORMATS) as opened:
        _check(opened)
        profile = opened.info.get("icc_profile")
        picture = _plain(opened)
        picture.thumbnail((LONG_SIDE, LONG_SIDE), Image.Resampling.LANCZOS)
        picture.load()  # a PNG is read to its end for its EXIF, and forgets then that its pixels were damaged
        turn = _turn(opened)
        picture = _over_white(picture, profile)
    if turn is not None:
        picture = picture.transpose(turn)
    picture.info.clear()
    return picture


def _check(picture: ImageFile.ImageFile) -> None:
    """Refuse by what the header says, before any pixel is decoded."""
    width, height = picture.size
    if min(width, height) < MIN_SIDE:
        raise PictureFileRefused(Verdict.TOO_SMALL)
    if max(width, height) > MAX_SIDE:
        raise PictureFileRefused(Verdict.TOO_LARGE)
    if width * height > MAX_PIXELS:
        raise PictureFileRefused(Verdict.TOO_MANY_PIXELS)
    still = picture.format == "MPO"  # cameras append depth or gain maps to a JPEG; viewers show its first frame
    if not still and getattr(picture, "n_frames", 1) > 1:
        raise PictureFileRefused(Verdict.ANIMATED)


def _turn(picture: Image.Image) -> Image.Transpose | None:
    """Return how to turn the picture upright; damaged EXIF says nothing and is no reason to refuse."""
    try:
        return TURNS.get(picture.getexif().get(ORIENTATION_TAG, 1))
    except (TypeError, *PILLOW_FAULTS):  # it takes XMP for bytes, and a PNG's plain text of that name is a str
        return None


def _plain(picture: Image.Image) -> Image.Image:
    """Return the picture in a mode that can be resized and still carries its transparency."""
    if picture.mode.startswith("I"):  # 16 bits grey, shown by its high byte
        return picture.point(lambda value: value * (1 / 256)).convert("L")
    if "transparency" in picture.info:
        return picture.convert("RGBA")
    if picture.mode in PLAIN_MODES:
        return picture
    return picture.convert("L" if picture.mode == "1" else "RGBA" if "A" in picture.mode.upper() else "RGB")


def _over_white(picture: Image.Image, profile: bytes | None) -> Image.Image:
    alpha = picture.getchannel("A") if picture.mode in ("LA", "RGBA") else None
    colour = picture if alpha is None else picture.convert("L" if picture.mode == "LA" else "RGB")
    rgb = _to_srgb(colour, profile) if profile else colour.convert("RGB")
    if alpha is None:
        return rgb
    paper = Image.new("RGB", rgb.size, "white")
    paper.paste(rgb, mask=alpha)
    return paper


def _to_srgb(picture: Image.Image, profile: bytes) -> Image.Image:
    """Return the picture in sRGB; a profile that cannot be applied is dropped."""
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if (source.profile.profile_description or "").startswith("sRGB"):
            return picture.convert("RGB")
        target = ImageCms.createProfile("sRGB")
        converted = ImageCms.profileToProfile(picture, source, target, outputMode="RGB")
    except (ImageCms.PyCMSError, *PILLOW_FAULTS):
        return picture.convert("RGB")
    assert converted is not None
    return converted
