"""Hostile pictures: never a crash, never a 5xx, nothing accepted outside the rules (S1)."""

import json
import struct
import subprocess
import sys
import time
import zlib
from io import BytesIO

import pytest
from PIL import Image

from app.intake.rules import LONG_SIDE, MIN_SIDE
from app.intake.sandbox import CHILD_MEMORY
from tests.gateway import Gateway
from tests.security.corpus import CORPUS, REFUSED
from tests.security.corpus.damage import MARK
from tests.security.corpus.png import PIXELS, chunk, png
from tests.security.mutants import mutant, originals
from tests.unit.app.pictures import encoded, picture, style
from workers.contract.blobs import input_name

MUTANTS, PARTS = 50_000, 4
POSTED = 200
SEED = 20261120
CORPUS_AT_LEAST = 300
SLOWEST = 5.0

BROKEN = {
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


@pytest.mark.parametrize("name", BROKEN)
def test_the_broken_are_refused(gateway: Gateway, name: str) -> None:
    before = gateway.rss()
    answer = gateway.post(files=style(BROKEN[name]))
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


def test_the_corpus_is_large() -> None:
    assert sum(map(len, CORPUS.values())) >= CORPUS_AT_LEAST


@pytest.mark.parametrize("family", CORPUS)
def test_of_the_corpus_nothing_outside_the_rules_is_accepted(gateway: Gateway, family: str) -> None:
    before = gateway.rss()
    for name, data in CORPUS[family].items():
        began = time.monotonic()
        answer = gateway.post(files=style(data))
        assert time.monotonic() - began < SLOWEST, name
        assert answer.status_code in ({415, 422} if family in REFUSED else {202, 415, 422}), (name, answer.text)
        if answer.status_code == 202:
            (sha256,) = answer.json()["recipe"]["style_images"]
            stored = gateway.blobs.get(input_name(sha256))
            assert MARK not in stored, name
            with Image.open(BytesIO(stored), formats=["PNG"]) as kept:
                kept.load()
                assert (kept.mode, max(kept.size) <= LONG_SIDE, min(kept.size) >= MIN_SIDE) == ("RGB", True, True), name
        else:
            assert answer.json()["errors"][0]["pointer"] == "#/style_image/0", name
    assert gateway.rss() - before < 50 * 2**20


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
