"""Images that others publish are named by digest: a tag that moves changes nothing of ours."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
FILES = [ROOT / "Dockerfile", ROOT / "docker-compose.yml", *sorted((ROOT / "deploy/kubernetes").rglob("*.yaml"))]
NAMED = re.compile(r"^\s*(?:- )?image: *[\"']?([^\s\"'#]+)|^ARG PYTHON=(\S+)", flags=re.MULTILINE)
PINNED = re.compile(r"[^@\s]+:[\w.-]+@sha256:[0-9a-f]{64}")
OURS = {"stylize-gateway", "stylize-worker"}


def images(text: str) -> set[str]:
    """Return the images that a file names, without those that we build."""
    return {compose or base for compose, base in NAMED.findall(text)} - OURS


FOUND = [(file.name, image) for file in FILES for image in sorted(images(file.read_text()))]


def test_the_third_party_images_are_found() -> None:
    assert {"Dockerfile", "docker-compose.yml", "redis.yaml"} <= {name for name, _ in FOUND}


@pytest.mark.parametrize(("name", "image"), FOUND)
def test_an_image_is_named_by_tag_and_digest(name: str, image: str) -> None:
    assert PINNED.fullmatch(image), f"{name}: {image} has no digest"


def test_an_image_has_one_digest_everywhere() -> None:
    by_tag = {image.partition("@")[0]: image for _, image in FOUND}
    assert {image for _, image in FOUND} == set(by_tag.values())
