"""PNG: its chunks, read as browsers read them. An ancillary chunk that is damaged counts as absent."""

import struct
import zlib
from collections.abc import Iterator

from app.uploads.decoder.picture_file import (
    KEY,
    MAX_PROFILE_BYTES,
    MAX_RECIPE_BYTES,
    ColourKey,
    PictureFile,
    inflate,
)

SIGNATURE_SIZE = 8
HEADER = struct.Struct(">I4s")
OVERHEAD = HEADER.size + 4
IHDR = struct.Struct(">8xBB")
GREY, RGB, PALETTE = 0, 2, 3
SAMPLES = {GREY: 1, RGB: 3}
MAX_FRAMES = 2**31 - 1
XMP_KEYWORD = b"XML:com.adobe.xmp"
TEXTS = (b"tEXt", b"zTXt", b"iTXt")


def parse_png(data: bytes) -> PictureFile:
    """Return the parts of a PNG. What cannot be walked is left to Pillow's judgement."""
    chunks = PngChunks(data)
    pixels = b"".join(chunks.kept)
    texts = _parse_texts(chunks.texts)
    return PictureFile(
        pixels,
        exif=bytes(chunks.first.get(b"eXIf", b"")),
        profile=_profile(bytes(chunks.first.get(b"iCCP", b""))),
        recipe=texts.get(KEY.encode(), ""),
        xmp=texts.get(XMP_KEYWORD, "").encode(),
        animated=_animated(bytes(chunks.first.get(b"acTL", b"")), chunks.later_frames),
        colour_key=chunks.colour_key,
    )


class PngChunks:
    """Walks a PNG once: `kept` is what Pillow is to read, `first` the first sound chunk of each ancillary kind."""

    def __init__(self, data: bytes) -> None:
        self._data = memoryview(data)
        self.kept = [self._data[:SIGNATURE_SIZE]]
        self.first: dict[bytes, memoryview] = {}
        self.texts: list[tuple[bytes, memoryview]] = []
        self._depth, self._colour, self._entries = 8, -1, 0
        self.colour_key: ColourKey | None = None
        self.later_frames = False
        self._pixels_seen = False
        for kind, body, whole in self._walk():
            if kind[0] & 0x20:
                self._take(kind, body, whole)
            else:
                self._keep(kind, body, whole)

    def _walk(self) -> Iterator[tuple[bytes, memoryview, memoryview]]:
        """Yield kind, body and all bytes of each chunk up to IEND; a last one that is cut off stays as it is."""
        at, kind = SIGNATURE_SIZE, b""
        while kind != b"IEND" and at + HEADER.size <= len(self._data):
            length, kind = HEADER.unpack_from(self._data, at)
            end = at + OVERHEAD + length
            if not kind.isalpha() or end > len(self._data):
                if not (kind.isalpha() and kind[0] & 0x20):
                    self.kept.append(self._data[at:])
                return
            yield kind, self._data[at + HEADER.size : end - 4], self._data[at:end]
            at = end

    def _keep(self, kind: bytes, body: memoryview, whole: memoryview) -> None:
        self.kept.append(whole)
        if kind == b"IHDR" and len(body) >= IHDR.size:
            self._depth, self._colour = IHDR.unpack_from(body)
        elif kind == b"PLTE":
            self._entries = len(body) // 3
        elif kind == b"IDAT":
            self._pixels_seen = True

    def _take(self, kind: bytes, body: memoryview, whole: memoryview) -> None:
        if kind == b"fdAT":
            self.later_frames = True
        if kind not in (b"tRNS", b"acTL", b"iCCP", b"eXIf", *TEXTS):
            return
        if zlib.crc32(whole[4:-4]) != int.from_bytes(whole[-4:], "big"):
            return
        if kind in TEXTS:
            self.texts.append((kind, body))
        elif kind not in self.first and (kind == b"eXIf" or not self._pixels_seen):
            self.first[kind] = body
            if kind == b"tRNS":
                self._take_transparency(body, whole)

    def _take_transparency(self, body: memoryview, whole: memoryview) -> None:
        if self._colour == PALETTE and 0 < len(body) <= self._entries:
            self.kept.append(whole)
        elif len(body) == 2 * SAMPLES.get(self._colour, -1):
            # a sample has 16 bits in the chunk, whatever the pixels have: the low ones count
            samples = struct.unpack(f">{len(body) // 2}H", body)
            most = (1 << self._depth) - 1
            self.colour_key = ColourKey(tuple(sample & most for sample in samples), self._depth)


def _animated(control: bytes, later_frames: bool) -> bool:
    frames = int.from_bytes(control[:4], "big") if len(control) == 8 else 0
    return 1 < frames <= MAX_FRAMES or (frames == 1 and later_frames)


def _profile(chunk: bytes) -> bytes | None:
    _, _, packed = chunk.partition(b"\0")
    return inflate(packed[1:], MAX_PROFILE_BYTES) if packed[:1] == b"\0" else None


def _parse_texts(chunks: list[tuple[bytes, memoryview]]) -> dict[bytes, str]:
    """Return the first text of each keyword that can hold a recipe."""
    texts: dict[bytes, str] = {}
    for kind, body in chunks:
        keyword = bytes(body[:80]).partition(b"\0")[0]
        if keyword in (KEY.encode(), XMP_KEYWORD) and keyword not in texts:
            text = _parse_text(kind, bytes(body[len(keyword) + 1 :]))
            texts |= {keyword: text} if text else {}
    return texts


def _parse_text(kind: bytes, value: bytes) -> str:
    """Return the text of a chunk behind its keyword; empty when it is damaged or inflates to too much."""
    packed, charset = kind == b"zTXt", "latin-1"
    if kind == b"iTXt":  # packed or not, method, language, translated keyword, text
        packed, charset = value[:1] == b"\1", "utf-8"
        value = value[1:2] + value[2:].partition(b"\0")[2].partition(b"\0")[2]
    if packed:
        value = (inflate(value[1:], MAX_RECIPE_BYTES) or b"") if value[:1] == b"\0" else b""
    elif kind == b"iTXt":
        value = value[1:]
    try:
        return value.decode(charset)
    except UnicodeDecodeError:
        return ""
