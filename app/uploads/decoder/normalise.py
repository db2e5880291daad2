"""Bytes to bounded RGB: one picture as a viewer would show it; a mask to grey.

Runs only in the decoder's throw-away children.
"""

import io
import warnings
from typing import BinaryIO

from PIL import Image, ImageCms, ImageFile

from app.uploads.decoder.containers import parse_file
from app.uploads.decoder.jpeg_scans import is_complete
from app.uploads.decoder.picture_file import PictureFile
from app.uploads.decoder.transparency import high_bytes, repainted, with_alpha
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
REPAINTED = [0] * 128 + [255] * 128
"""What a grey of a mask means: from the middle on it is repainted."""
PLAIN_MODES = frozenset({"L", "LA", "RGB", "RGBA", "CMYK"})


def normalise(source: BinaryIO, *, is_mask: bool = False) -> Image.Image:
    """Return the picture in `source` upright, in sRGB over white, at most LONG_SIDE pixels long, without metadata.

    A mask is grey: 255 where a picture is repainted. Raises PictureFileRefused.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            return _normalise(source, is_mask)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as bomb:
        raise PictureFileRefused(Verdict.TOO_MANY_PIXELS) from bomb
    except PILLOW_FAULTS as fault:
        raise PictureFileRefused(Verdict.UNREADABLE) from fault


def encode(picture: Image.Image, target: BinaryIO) -> None:
    """Write a picture as PNG, fast rather than small."""
    picture.save(target, "PNG", compress_level=1)


def _normalise(source: BinaryIO, is_mask: bool) -> Image.Image:
    file = parse_file(source.read())
    with Image.open(io.BytesIO(file.pixels), formats=FORMATS) as opened:
        _check(opened, file)
        picture = _plain(opened, file)
        picture.thumbnail((LONG_SIDE, LONG_SIDE), Image.Resampling.LANCZOS)
        picture.load()
        picture = _mask(picture) if is_mask else _over_white(picture, file.profile)
    turn = _turn(file.exif)
    if turn is not None:
        picture = picture.transpose(turn)
    picture.info.clear()
    return picture


def _check(picture: ImageFile.ImageFile, file: PictureFile) -> None:
    """Refuse by what the header says, before any pixel is decoded; then what lacks pixels behind its end."""
    width, height = picture.size
    if min(width, height) < MIN_SIDE:
        raise PictureFileRefused(Verdict.TOO_SMALL)
    if max(width, height) > MAX_SIDE:
        raise PictureFileRefused(Verdict.TOO_LARGE)
    if width * height > MAX_PIXELS:
        raise PictureFileRefused(Verdict.TOO_MANY_PIXELS)
    if file.animated or getattr(picture, "n_frames", 1) > 1:
        raise PictureFileRefused(Verdict.ANIMATED)
    if not is_complete(file):
        raise PictureFileRefused(Verdict.UNREADABLE)


def _turn(exif: bytes) -> Image.Transpose | None:
    """Return how to turn the picture upright; damaged EXIF says nothing and is no reason to refuse.

    As in browsers nothing but EXIF counts: Pillow's own look at a picture would take the word of XMP, too.
    """
    tags = Image.Exif()
    try:
        tags.load(exif)
        return TURNS.get(tags.get(ORIENTATION_TAG, 1))
    except (TypeError, *PILLOW_FAULTS):
        return None


def _plain(picture: Image.Image, file: PictureFile) -> Image.Image:
    """Return the picture in a mode that can be resized and still carries its transparency."""
    if file.colour_key:
        return with_alpha(picture, file.pixels, file.colour_key)
    if picture.mode.startswith("I"):
        return high_bytes(picture)
    if "transparency" in picture.info:
        return picture.convert("RGBA")
    if picture.mode in PLAIN_MODES:
        return picture
    return picture.convert("L" if picture.mode == "1" else "RGBA" if "A" in picture.mode.upper() else "RGB")


def _mask(picture: Image.Image) -> Image.Image:
    mask = repainted(picture)
    if mask.point(REPAINTED).getbbox() is None:
        raise PictureFileRefused(Verdict.NOTHING_REPAINTED)
    return mask


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
