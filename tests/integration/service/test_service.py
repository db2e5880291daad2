"""A job from post to picture through the real service, its pictures on disk and on an S3 server."""

import hashlib
from collections.abc import Iterator
from io import BytesIO

import boto3
import pytest
from PIL import Image

from tests.support.service import Service, quick, service

pytestmark = pytest.mark.xdist_group("service")
KEYS = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret"}


@pytest.fixture(scope="module", params=["disk", "s3"])
def running(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    environ: dict[str, str] = {}
    if request.param == "s3":
        endpoint = request.getfixturevalue("s3_server")
        with pytest.MonkeyPatch.context() as patched:
            for name, value in KEYS.items():
                patched.setenv(name, value)
            boto3.client("s3", endpoint_url=endpoint, region_name="us-east-1").create_bucket(Bucket="pictures")
        environ = {"STYLIZE_BLOB_URL": "s3://pictures/stylize", "STYLIZE_S3_ENDPOINT_URL": endpoint, **KEYS}
    with service(tmp_path_factory.mktemp("models"), environ=environ) as started:
        yield started


def test_a_job_becomes_a_picture(running: Service) -> None:
    job = running.submit(quick(num_images=2))
    done = running.finished(job["id"])
    assert (done["state"], done["error"]) == ("succeeded", None)
    assert [image["seed"] for image in done["images"]] == [7, 8]
    for image in done["images"]:
        answer = running.client.get(image["url"])
        assert hashlib.sha256(answer.content).hexdigest() == image["sha256"]
        assert answer.headers["content-type"] == "image/png"
        assert Image.open(BytesIO(answer.content)).size == (image["width"], image["height"]) == (64, 64)
    assert set(done["timings"]) >= {"queue", "prepare", "denoise", "decode", "publish"}
    assert done["gpu_seconds"] > 0


def test_a_prompt_that_is_not_read_to_its_end_is_told(running: Service) -> None:
    done = running.finished(running.submit(quick(prompt="x" * 75 + " a cat"))["id"])
    assert done["state"] == "succeeded"
    (warning,) = done["warnings"]
    assert warning.startswith("prompt is longer than the 77 tokens")
    assert warning.endswith("not read: a cat")


def test_a_second_request_of_a_style_finds_it_in_the_cache(running: Service) -> None:
    first = running.finished(running.submit(quick(seed=1))["id"])
    second = running.finished(running.submit(quick(seed=2))["id"])
    assert first["cache"]["style"] in ("miss", "hit")
    assert second["cache"]["style"] == "hit"


def test_a_picture_carries_the_recipe_that_makes_it_again(running: Service) -> None:
    done = running.finished(running.submit(quick(seed=5))["id"])
    picture = Image.open(BytesIO(running.client.get(done["images"][0]["url"]).content))
    assert isinstance(picture.info["stylize:recipe"], str)
    assert '"seed": 5' in picture.info["stylize:recipe"]


@pytest.mark.parametrize(("output_format", "kind"), [("jpeg", "JPEG"), ("webp", "WEBP")])
def test_other_formats(running: Service, output_format: str, kind: str) -> None:
    done = running.finished(running.submit(quick(output_format=output_format))["id"])
    picture = Image.open(BytesIO(running.client.get(done["images"][0]["url"]).content))
    assert picture.format == kind
    assert b"stylize:recipe" in picture.info["xmp"]
