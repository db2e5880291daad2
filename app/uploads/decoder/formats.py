"""Files that are no PNG, JPEG or WebP: what they are instead, and what to do, in plain words."""

from collections.abc import Iterable

from app.errors import Fault, UnsupportedMedia
from app.uploads.limits import format_of
from app.uploads.upload import Upload

NOT_TAKEN = "must be a PNG, JPEG or WebP picture"
CONVERT = "save or export it as PNG or JPEG"
IPHONE = "export it as JPEG, or set an iPhone to Settings > Camera > Formats > Most Compatible"
ONE_FRAME = "save one frame as PNG or JPEG"
SEND = "send a picture"
BRANDS = {
    **dict.fromkeys(
        (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs"), ("a HEIC picture", IPHONE)
    ),
    **dict.fromkeys((b"mif1", b"msf1", b"mif2"), ("a HEIF picture", IPHONE)),
    **dict.fromkeys((b"avif", b"avis"), ("an AVIF picture", CONVERT)),
    b"crx ": ("a camera's raw picture", CONVERT),
}
"""Files of the ISO base media format by their brand, the four bytes behind `ftyp`; others are videos."""
SIGNATURES: tuple[tuple[bytes, str, str], ...] = (
    (b"GIF8", "a GIF picture", ONE_FRAME),
    (b"II*\0", "a TIFF or a camera's raw picture", CONVERT),
    (b"MM\0*", "a TIFF or a camera's raw picture", CONVERT),
    (b"II+\0", "a TIFF picture", CONVERT),
    (b"MM\0+", "a TIFF picture", CONVERT),
    (b"IIU\0", "a camera's raw picture", CONVERT),
    (b"FUJIFILMCCD", "a camera's raw picture", CONVERT),
    (b"BM", "a BMP picture", CONVERT),
    (b"\0\0\1\0", "an icon", CONVERT),
    (b"8BPS", "a Photoshop file", CONVERT),
    (b"gimp xcf", "a GIMP file", CONVERT),
    (b"\xff\x0a", "a JPEG XL picture", CONVERT),
    (b"\0\0\0\x0cJXL ", "a JPEG XL picture", CONVERT),
    (b"\0\0\0\x0cjP  ", "a JPEG 2000 picture", CONVERT),
    (b"\xff\x4f\xff\x51", "a JPEG 2000 picture", CONVERT),
    (b"II\xbc", "a JPEG XR picture", CONVERT),
    (b"qoif", "a QOI picture", CONVERT),
    (b"v/1\x01", "an OpenEXR picture", CONVERT),
    (b"#?RADIANCE", "a Radiance HDR picture", CONVERT),
    (b"DDS ", "a DDS texture", CONVERT),
    (b"\x8aMNG", "an MNG animation", ONE_FRAME),
    *((b"P%d" % n, "a Netpbm picture", CONVERT) for n in range(1, 8)),
    (b"\x89PNG", "a PNG damaged by a transfer as text", "send it again as it was"),
    (b"<svg", "an SVG drawing", "export it as PNG"),
    (b"<?xml", "an XML file or SVG drawing", "export it as PNG"),
    (b"%PDF", "a PDF document", "export the page as PNG"),
    (b"%!PS", "a PostScript document", "export it as PNG"),
    (b"PK\3\4", "a ZIP archive or office document", SEND),
    (b"\x1f\x8b", "a gzip archive", SEND),
    (b"RIFF", "a sound or video", SEND),
    (b"\x1aE\xdf\xa3", "a video", SEND),
    (b"<!DOCTYPE", "a web page", SEND),
    (b"<html", "a web page", SEND),
    (b"data:", "a data URL", "send the bytes themselves"),
    (b"http://", "an address", "send the picture itself"),
    (b"https://", "an address", "send the picture itself"),
)
"""How other files begin, what they are, and the advice."""


def name_foreign(head: bytes) -> str:
    """Return what a file is that begins like this, and what to do about it; empty when it is not recognised."""
    if head[4:8] == b"ftyp":
        name, advice = BRANDS.get(head[8:12], ("a video", ONE_FRAME))
        return f"is {name}: {advice}"
    lowered = head.lower()
    for mark, name, advice in SIGNATURES:
        if head.startswith(mark) or (mark[:1] == b"<" and lowered.startswith(mark.lower())):
            return f"is {name}: {advice}"
    return ""


def check_formats(uploads: Iterable[Upload]) -> None:
    """Raise UnsupportedMedia unless all files begin like a picture that is taken: clients label them in many ways."""
    faults = [
        Fault(upload.pointer, f"{NOT_TAKEN}; this {name}" if (name := name_foreign(upload.head)) else NOT_TAKEN)
        for upload in uploads
        if format_of(upload.head) is None
    ]
    if faults:
        raise UnsupportedMedia("; ".join(f"{fault.pointer[2:]}: {fault.detail}" for fault in faults), errors=faults)
