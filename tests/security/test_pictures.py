"""Hostile pictures: never a crash, never a 5xx, nothing accepted outside the rules (S1)."""

import json
import struct
import subprocess
import sys
import zlib

import pytest

from app.intake.sandbox import CHILD_MEMORY
from tests.gateway import Gateway
from tests.security.mutants import mutant, originals
from tests.unit.app.pictures import encoded, picture, style
from workers.contract.blobs import input_name

MUTANTS, PARTS = 50_000, 4
POSTED = 200
SEED = 20261120


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, *chunks: bytes) -> bytes:
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(chunks) + chunk(b"IEND", b"")


PIXELS = chunk(b"IDAT", zlib.compress(bytes((1 + 3 * 32) * 32)))
CORPUS = {
    "bomb by header": png(30_000, 30_000, PIXELS),
    "bomb by text": png(32, 32, chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(80_000_000))), PIXELS),
    "bomb by profile": png(32, 32, chunk(b"iCCP", b"a\0\0" + zlib.compress(bytes(80_000_000))), PIXELS),
    "no width": png(0, 32, PIXELS),
    "negative width": png(2**31 + 5, 32, PIXELS),
    "no pixels": png(32, 32),
    "wrong checksum": png(32, 32, PIXELS).replace(b"\x08\x02\x00\x00\x00", b"\x08\x02\x00\x00\x00x"),
    "announced animation": png(32, 32, chunk(b"acTL", struct.pack(">II", 1000, 0)), PIXELS),
    "only a signature": b"\x89PNG\r\n\x1a\n",
    "jpeg signature": b"\xff\xd8\xff\xe0" + bytes(100),
    "webp signature": b"RIFF\xff\xff\xff\xffWEBPVP8 \xff\xff\xff\xff" + bytes(100),
    "jpeg of 65535 x 65535": encoded(picture(), "JPEG").replace(struct.pack(">HH", 30, 40), b"\xff\xff\xff\xff"),
    "truncated webp": encoded(picture(size=(300, 300)), "WEBP")[:200],
}


@pytest.mark.parametrize("name", CORPUS)
def test_the_corpus_is_refused(gateway: Gateway, name: str) -> None:
    before = gateway.rss()
    answer = gateway.post(files=style(CORPUS[name]))
    assert answer.status_code == 422, answer.text
    assert answer.json()["errors"][0]["pointer"] == "#/style_image/0"
    assert gateway.rss() - before < 50 * 2**20


@pytest.mark.parametrize(
    "data",
    [
        encoded(picture(), "JPEG") + b"<html><script>alert(1)</script>",
        encoded(picture()) + b"PK\x03\x04" + bytes(100),
        png(32, 32, chunk(b"tEXt", b"a\0<script>"), PIXELS),
        png(32, 32, chunk(b"IDAT", zlib.compress(bytes(80_000_000)))),
    ],
    ids=["jpeg and html", "png and zip", "png with text", "png with pixels to spare"],
)
def test_of_polyglots_only_the_pixels_remain(gateway: Gateway, data: bytes) -> None:
    (sha256,) = gateway.accepted(files=style(data))["recipe"]["style_images"]
    stored = gateway.blobs.get(input_name(sha256))
    assert b"script" not in stored
    assert b"PK\x03\x04" not in stored


@pytest.mark.parametrize("part", range(PARTS))
def test_mutants_are_decoded_or_refused_within_a_childs_limits(part: int) -> None:
    share = MUTANTS // PARTS
    command = (sys.executable, "-m", "tests.security.mutants", "--first", str(part * share), "--count", str(share))
    run = subprocess.run(command, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    tally = json.loads(run.stdout)
    assert tally["accepted"] + tally["refused"] == share
    assert min(tally["accepted"], tally["refused"]) > 0
    assert tally["memory"] < CHILD_MEMORY


def test_mutants_never_trouble_the_gateway(gateway: Gateway) -> None:
    gateway.accepted()
    before, pictures = gateway.rss(), originals()
    statuses = {gateway.post(files=style(mutant(SEED, n, pictures))).status_code for n in range(POSTED)}
    assert statuses <= {202, 415, 422}
    assert gateway.rss() - before < 50 * 2**20
