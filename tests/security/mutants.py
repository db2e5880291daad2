"""Damaged pictures through the decoder's own code, as its children are confined: `python -m tests.security.mutants`.

One process decodes them all under a child's memory limit; a picture that ends it, or takes longer than a child may,
is a finding. Mutant n of a seed is always the same: `--first n --count 1` shows one again.
"""

import argparse
import faulthandler
import json
import random
import resource
import sys
import time
from dataclasses import asdict, dataclass
from io import BytesIO

from app.uploads.decoder.normalise import encode, normalise
from app.uploads.decoder.picture_file import MAX_RECIPE_BYTES
from app.uploads.decoder.recipe_text import recipe_text
from app.uploads.decoder.sandbox import CHILD_CPU_SECONDS, CHILD_MEMORY
from app.uploads.limits import LONG_SIDE, PictureFileRefused
from tests.support.memory import resident
from tests.support.pictures import encoded, picture

EXIF = bytes.fromhex("4578696600004d4d002a00000008000101120003000000010006000000000000")
PACKET = b'<x:xmpmeta stylize:recipe="{&quot;&#97;&quot;}"><stylize:recipe>{}</stylize:recipe></x:xmpmeta>'
KINDS = (
    ("RGB", "PNG", {}),
    ("RGBA", "PNG", {}),
    ("L", "PNG", {"icc_profile": bytes(200)}),
    ("P", "PNG", {"transparency": 0}),
    ("I;16", "PNG", {}),
    ("RGB", "JPEG", {"exif": EXIF}),
    ("CMYK", "JPEG", {}),
    ("L", "JPEG", {"progressive": True}),
    ("RGB", "WEBP", {}),
    ("RGBA", "WEBP", {"lossless": True}),
    ("I;16", "PNG", {"transparency": 0}),
    ("RGB", "JPEG", {"xmp": PACKET}),
    ("RGB", "WEBP", {"xmp": PACKET, "exif": EXIF}),
)
REPORT_EVERY = 50_000


@dataclass
class Tally:
    """What became of the mutants; `slowest` in seconds of CPU, `memory` the most that was resident, in bytes."""

    accepted: int = 0
    refused: int = 0
    slowest: float = 0.0
    memory: int = 0


def originals() -> list[bytes]:
    """Small pictures of every kind that is read."""
    small = (48, 40)
    return [encoded(picture(mode, size=small), kind, **options) for mode, kind, options in KINDS]


def mutant(seed: int, number: int, pictures: list[bytes]) -> bytes:
    """One of the pictures with bytes changed, cut out, doubled or cut off."""
    drawn = random.Random(f"{seed}:{number}")
    data = bytearray(drawn.choice(pictures))
    for _ in range(drawn.randint(1, 8)):
        at = drawn.randrange(len(data))
        match drawn.randrange(5):
            case 0:
                data[at] = drawn.randrange(256)
            case 1:
                data[at] ^= 1 << drawn.randrange(8)
            case 2:
                del data[at : at + drawn.randint(1, 16)]
            case 3:
                data[at:at] = data[at : at + drawn.randint(1, 16)]
            case 4:
                data[at : at + 4] = drawn.choice((b"\xff\xff\xff\xff", b"\0\0\0\0", b"\x7f\xff\xff\xff"))
        if len(data) < 32:
            break
    return bytes(data)


def decode_all(seed: int, first: int, count: int) -> Tally:
    """Decode mutants one after the other. Raises AssertionError for a result outside the rules."""
    tally, pictures = Tally(), originals()
    for number in range(first, first + count):
        data, began = mutant(seed, number, pictures), time.process_time()
        try:
            result = normalise(BytesIO(data))
            encode(result, BytesIO())
            assert len(recipe_text(BytesIO(data))) <= MAX_RECIPE_BYTES, number
        except PictureFileRefused:
            tally.refused += 1
        else:
            tally.accepted += 1
            assert result.mode == "RGB", number
            assert max(result.size) <= LONG_SIDE, number
        tally.slowest = max(tally.slowest, time.process_time() - began)
        assert tally.slowest < CHILD_CPU_SECONDS, number
        if (number + 1) % REPORT_EVERY == 0:
            print(f"{number + 1} decoded", file=sys.stderr, flush=True)
    tally.memory = resident("VmHWM")
    return tally


def main() -> None:
    """Command line; ends by the signal of whatever a mutant broke."""
    parser = argparse.ArgumentParser(prog="python -m tests.security.mutants", description=__doc__)
    parser.add_argument("--count", type=int, default=1_000_000)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--seed", type=int, default=20_261_121)
    options = parser.parse_args()
    faulthandler.enable()
    resource.setrlimit(resource.RLIMIT_AS, (CHILD_MEMORY, CHILD_MEMORY))
    print(json.dumps(asdict(decode_all(options.seed, options.first, options.count))))


if __name__ == "__main__":
    main()
