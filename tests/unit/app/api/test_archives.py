"""Pictures as a zip: of a job, of a comparison, of some jobs; named by prompt and seed, with what made them."""

import json
import os
from contextlib import suppress
from io import BytesIO
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import pytest
from stylize_client import Client

from tests.support.gateway import Gateway
from tests.support.pictures import encoded, picture
from tests.support.service import until
from tests.unit.app.api.test_comparisons import accepted, jobs_of
from tests.unit.app.api.test_jobs import other_owners_job

PNG = encoded(picture(seed=3))


def opened(content: bytes) -> dict[str, bytes]:
    with ZipFile(BytesIO(content)) as archive:
        assert archive.testzip() is None
        return {name: archive.read(name) for name in archive.namelist()}


def done(gateway: Gateway, data: bytes = PNG, **fields: Any) -> str:
    return gateway.finish(gateway.accepted(fields)["id"], data).id


def test_a_zip_of_a_job_names_prompt_and_seed_and_carries_the_recipes(gateway: Gateway) -> None:
    job_id = done(gateway, prompt="A boat, at night!")
    answer = gateway.client.get(f"/jobs/{job_id}/zip")
    assert answer.headers["content-type"] == "application/zip"
    assert answer.headers["content-disposition"] == f'attachment; filename="{job_id}.zip"'
    files = opened(answer.content)
    assert list(files) == ["01-a-boat-at-night-seed7.png", "recipes.json"]
    assert files["01-a-boat-at-night-seed7.png"] == PNG
    [told] = json.loads(files["recipes.json"])
    job = gateway.client.get(f"/jobs/{job_id}").json()
    assert told == {
        "file": "01-a-boat-at-night-seed7.png",
        "job": job_id,
        "index": 0,
        "seed": 7,
        "sha256": job["images"][0]["sha256"],
        "recipe": job["recipe"],
    }


def test_a_zip_of_a_comparison_has_what_is_there_in_its_order(gateway: Gateway) -> None:
    made = accepted(gateway, seed="1,2", method="signal-leak,ip-adapter", prompt="ein Haus \u4e00")
    path = made["links"]["zip"]
    jobs = jobs_of(made)
    assert gateway.client.get(path).status_code == 409, "there is nothing yet"
    for job_id in (jobs[0], jobs[2]):
        gateway.finish(job_id, encoded(picture(seed=jobs.index(job_id))))
    files = opened(gateway.client.get(path).content)
    assert list(files) == ["01-ein-haus-\u4e00-seed7.png", "02-ein-haus-\u4e00-seed7.png", "recipes.json"]
    assert [one["job"] for one in json.loads(files["recipes.json"])] == [jobs[0], jobs[2]]
    gateway.client.delete(made["links"]["self"])


def test_a_zip_of_some_jobs_keeps_the_order_asked_for(gateway: Gateway) -> None:
    first, second, canceled = done(gateway, prompt="one"), done(gateway, prompt="two"), gateway.accepted()["id"]
    gateway.client.delete(f"/jobs/{canceled}")
    ids = ",".join((second, first, canceled, second))
    files = opened(gateway.client.get("/images.zip", params={"job": ids}).content)
    assert list(files) == ["01-two-seed7.png", "02-one-seed7.png", "recipes.json"]
    with Client(f"http://127.0.0.1:{gateway.port}") as client:
        assert list(opened(client.get_zip(first, client.get_job(second)))) == [
            "01-one-seed7.png",
            "02-two-seed7.png",
            "recipes.json",
        ]


def test_a_picture_that_is_gone_is_left_out(gateway: Gateway) -> None:
    job_id = done(gateway)
    job = gateway.store.get(job_id)
    assert job is not None
    assert job.result is not None
    gateway.blobs.delete([image.blob for image in job.result.images])
    assert opened(gateway.client.get(f"/jobs/{job_id}/zip").content) == {"recipes.json": b"[]"}


def test_a_zip_larger_than_a_block_arrives_whole(gateway: Gateway) -> None:
    large = PNG + bytes(range(256)) * 2000
    job_id = done(gateway, large)
    assert opened(gateway.client.get(f"/jobs/{job_id}/zip").content)["01-a-house-seed7.png"] == large


def test_a_caller_that_leaves_leaves_nothing_open(gateway: Gateway) -> None:
    job_id = done(gateway, PNG + bytes(20_000_000))

    def opened_pictures() -> list[str]:
        with suppress(FileNotFoundError):  # a file that is closed while it is looked at
            files = [os.readlink(file) for file in Path(f"/proc/{gateway.pid}/fd").iterdir()]
            return [file for file in files if job_id in file]
        return ["unknown"]

    for _ in range(3):
        with gateway.client.stream("GET", f"/jobs/{job_id}/zip") as answer:
            assert answer.status_code == 200
            next(answer.iter_raw())
        until(lambda: not opened_pictures(), "the picture is closed")
    gateway.client.delete(f"/jobs/{job_id}")


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/jobs/unknown/zip", 404),
        ("/jobs/{other}/zip", 404),
        ("/jobs/{waiting}/zip", 409),
        ("/jobs/{canceled}/zip", 404),
        ("/comparisons/unknown/zip", 404),
        ("/images.zip", 422),
        ("/images.zip?job=", 422),
        ("/images.zip?job={waiting},{other}", 404),
        ("/images.zip?job=" + ",".join(f"j{n}" for n in range(101)), 422),
    ],
)
def test_what_has_no_pictures_is_said(gateway: Gateway, path: str, status: int) -> None:
    waiting, canceled = gateway.accepted()["id"], gateway.accepted()["id"]
    gateway.client.delete(f"/jobs/{canceled}")
    answer = gateway.client.get(path.format(other=other_owners_job(gateway), waiting=waiting, canceled=canceled))
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")
    gateway.client.delete(f"/jobs/{waiting}")
