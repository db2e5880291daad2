"""Hostile pictures: never a crash, never a 5xx, nothing accepted outside the rules (S1)."""

import json
import subprocess
import sys
import zlib
from io import BytesIO

import pytest
from PIL import Image

from app.uploads.decoder.sandbox import CHILD_MEMORY
from app.uploads.limits import LONG_SIDE, MIN_SIDE
from tests.security.corpus import CORPUS, STATUSES
from tests.security.corpus.damage import MARK
from tests.security.corpus.png import PIXELS, chunk, png
from tests.security.mutants import mutant, originals
from tests.support.gateway import Gateway
from tests.support.pictures import encoded, picture, style
from workers.contract.blobs import input_name

MUTANTS, PARTS = 50_000, 4
POSTED = 200
SEED = 20261120
CORPUS_AT_LEAST = 300


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
        answer = gateway.post(files=style(data))
        assert answer.status_code in STATUSES[family], (name, answer.text)
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
