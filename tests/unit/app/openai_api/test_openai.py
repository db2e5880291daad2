"""The OpenAI-shaped door through the official client, against a real gateway; the test is the worker."""

import base64
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import httpx2
import openai
import pytest

from app.capabilities import Capabilities
from app.errors import Invalid
from app.openai_api.translate import translate
from app.uploads.buffers import Share, UploadMemory
from app.uploads.form_schema import build_stylize_schema
from app.uploads.multipart import Form
from app.uploads.upload import Upload
from deploy.embedded.redis import RedisProcess
from tests.support.gateway import Gateway
from tests.support.pictures import encoded, picture
from tests.support.service import PATIENCE
from workers.contract.jobs.models import Failure, Job, State

STYLE = encoded(picture())
PNG = encoded(picture(seed=3))
SMALL = {"steps": 2, "seed": 7}


@pytest.fixture
def client(gateway: Gateway) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"http://127.0.0.1:{gateway.port}/v1", api_key="unused", max_retries=0) as opened:
        yield opened


@pytest.fixture(scope="module")
def saved(gateway: Gateway) -> str:
    """The id of a saved style."""
    return str(gateway.client.post("/styles", data={"name": "a"}, files={"style_image": ("a.png", STYLE)}).json()["id"])


@contextmanager
def working(gateway: Gateway, work: Callable[[Job], object] | None = None) -> Iterator[list[Job]]:
    """Do the next job that comes, as a worker would; yield a list that it will be in."""
    deadline = time.monotonic() + PATIENCE
    known = {job.id for job in gateway.store.page(limit=1).jobs}
    seen: list[Job] = []

    def do() -> None:
        while not (new := [job for job in gateway.store.page(limit=1).jobs if job.id not in known]):
            if time.monotonic() > deadline:
                return
            time.sleep(0.01)
        seen.append(new[0])
        (work or (lambda job: gateway.finish(job.id, PNG)))(new[0])

    worker = threading.Thread(target=do)
    worker.start()
    try:
        yield seen
    finally:
        worker.join()


def test_an_edit_draws_in_the_style_of_its_images(gateway: Gateway, client: openai.OpenAI) -> None:
    with working(gateway) as jobs:
        answer = client.images.edit(
            image=[("a.png", STYLE), ("b.png", encoded(picture(seed=1)))],
            prompt="a house",
            model="signal-leak",
            size="64x64",
            extra_body={**SMALL, "strength": 0.5},
        )
    assert answer.data is not None
    assert base64.b64decode(answer.data[0].b64_json or "") == PNG
    request = jobs[0].request
    assert (request.method, request.width, request.height, len(request.style_images)) == ("signal-leak", 64, 64, 2)
    assert (request.strength, request.steps, request.seed) == (0.5, 2, 7)


def test_pictures_can_come_as_addresses(gateway: Gateway, client: openai.OpenAI) -> None:
    with working(gateway):
        answer = client.images.edit(
            image=STYLE, prompt="a", model="gpt-image-1", response_format="url", size="64x64", extra_body=SMALL
        )
    assert answer.data is not None
    assert httpx2.get(answer.data[0].url or "", timeout=PATIENCE).content == PNG


def test_the_first_image_is_the_content_where_a_method_needs_one(gateway: Gateway, client: openai.OpenAI) -> None:
    with working(gateway) as jobs:
        client.images.edit(
            image=[("content.png", PNG), ("style.png", STYLE)],
            prompt="a",
            model="style-id",
            size="64x64",
            extra_body=SMALL,
        )
    assert jobs[0].request.content_image is not None
    assert len(jobs[0].request.style_images) == 1


def test_a_generation_in_a_saved_style(gateway: Gateway, client: openai.OpenAI) -> None:
    style = gateway.client.post("/styles", data={"name": "a"}, files={"style_image": ("a.png", STYLE)}).json()
    with working(gateway) as jobs:
        answer = client.images.generate(
            prompt="a house",
            model="tiny-sd15",
            n=1,
            size="64x64",
            quality="high",
            user="somebody",
            extra_body={**SMALL, "method": "signal-leak", "style_id": style["id"], "params": {"leak_scale": 0.5}},
        )
    assert answer.data is not None
    assert base64.b64decode(answer.data[0].b64_json or "") == PNG
    assert (jobs[0].request.model, jobs[0].request.params["leak_scale"]) == ("tiny-sd15", 0.5)


def test_what_is_wrong_is_an_error_of_the_clients_own(client: openai.OpenAI) -> None:
    with pytest.raises(openai.UnprocessableEntityError) as refused:
        client.images.edit(image=STYLE, prompt="a", model="signal-leak", extra_body={"strength": 2})
    assert refused.value.param == "strength"
    assert refused.value.code == "invalid-request"
    for wrong in ({"size": "big"}, {"stream": "true"}, {"unheard_of": "1"}, {"response_format": "x"}):
        with pytest.raises(openai.UnprocessableEntityError, match=next(iter(wrong))):
            client.images.generate(prompt="a", extra_body=wrong)
    with pytest.raises(openai.UnprocessableEntityError, match="mask"):
        client.images.edit(image=STYLE, mask=STYLE, prompt="a")


def test_two_masks_are_refused_and_the_memory_of_all_files_is_given_back() -> None:
    memory, offered = UploadMemory(requests=1, size=100), Capabilities({"tiny": "sd15"})
    form = Form()
    for name in ("image", "mask", "mask_image"):
        upload = Upload(f"#/{name}", Share(memory, None))
        upload.write(memoryview(bytes(30)))
        form.files[name] = [upload]
    with pytest.raises(Invalid) as refused:
        translate(form, offered, build_stylize_schema(offered))
    assert "not both" in refused.value.errors[0].detail
    form.close()
    memory.take(100, None)
    memory.close()


def test_models_are_listed_as_openais_clients_read_them(client: openai.OpenAI) -> None:
    listed = [model.id for model in client.models.list()]
    assert listed[:2] == ["tiny-sd15", "tiny-sdxl"]
    assert {"signal-leak", "style-id"} <= set(listed)
    for name in (listed[0], listed[-1]):
        assert client.models.retrieve(name).id == name
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("nothing")


def test_every_listed_model_may_be_named(gateway: Gateway, client: openai.OpenAI, saved: str) -> None:
    for model in client.models.list():
        with pytest.raises(openai.UnprocessableEntityError) as refused:
            client.images.generate(prompt="a", model=model.id, n=9, extra_body={"style_id": saved})
        assert refused.value.param == "n"
        assert " does not run on " not in refused.value.message


@pytest.mark.parametrize(
    ("asked", "param", "words"),
    [
        ({"model": "stabilityai/stable-diffusion-xl-base-1.0", "method": "signal-leak"}, "model", "no such model here"),
        ({"model": "sdxl"}, "model", "known are tiny-sd15, tiny-sdxl, ip-adapter"),
        ({"model": "signal-leak", "method": "ip-adapter"}, "model", "another: ip-adapter"),
        ({"model": "prior-noise", "method": "signal-leak"}, "n", "whole number"),
        ({"model": "dall-e-3", "method": "signal-leak"}, "n", "whole number"),
        ({"model": "tiny-sdxl", "method": "signal-leak"}, "n", "whole number"),
        ({"prompt": {"text": "a house"}}, "prompt", "must be a string"),
        ({"prompt": ["a", "b"]}, "prompt", "must be a string"),
        ({"prompt": 7}, "prompt", "must be a string"),
        ({"size": 512}, "size", "must be a string"),
        ({"size": "0x64"}, "size", "from 64 to 2048"),
        ({"size": "100x100"}, "size", "multiples of 8"),
        ({"size": "99999x8"}, "size", "from 64 to 2048"),
        ({"stream": True}, "stream", "not supported"),
        ({"style_image": ["a.png"]}, "style_image", "as a file"),
    ],
)
def test_what_openais_clients_ask_wrongly_is_named(
    gateway: Gateway, saved: str, asked: dict[str, Any], param: str, words: str
) -> None:
    body = {"prompt": "a house", "style_id": saved, "n": 9} | asked
    refused = gateway.client.post("/v1/images/generations", json=body)
    assert refused.status_code == 422
    error = refused.json()["error"]
    assert error["param"] == param, error
    assert words in error["message"]


@pytest.mark.parametrize("model", ["signal-leak", "tiny-sd15", "gpt-image-1", None])
def test_a_generation_without_a_style_says_how_to_give_one(client: openai.OpenAI, model: str | None) -> None:
    words = r"style image.*extra_body=.*style_id.*/v1/images/edits"
    with pytest.raises(openai.UnprocessableEntityError, match=words) as no:
        client.images.generate(prompt="a house", model=model or openai.omit)
    assert no.value.param == "style_id"


@pytest.mark.parametrize(
    ("size", "drawn"),
    [
        ("1024x1024", (128, 128)),
        ("1536x1024", (160, 104)),
        ("1024x1792", (96, 168)),
        ("64x64", (64, 64)),
        ("192x192", (192, 192)),
        ("200x192", (128, 128)),
        ("auto", (128, 128)),
        ("99999x99999", (128, 128)),
    ],
)
def test_a_size_far_above_the_models_own_is_drawn_at_that(
    gateway: Gateway, saved: str, client: openai.OpenAI, size: Any, drawn: tuple[int, int]
) -> None:
    extra = {"method": "signal-leak", "style_id": saved, "steps": 2}
    with working(gateway) as jobs:
        answer = client.images.generate(prompt="a house", model="tiny-sd15", size=size, extra_body=extra)
    assert (jobs[0].request.width, jobs[0].request.height) == drawn
    assert answer.size == f"{drawn[0]}x{drawn[1]}"


def test_a_failed_job_is_a_server_error(gateway: Gateway, client: openai.OpenAI) -> None:
    def fail(job: Job) -> None:
        gateway.store.fail(gateway.claimed(job.id), Failure(code="out-of-memory", detail="too large"), retry=False)

    with working(gateway, fail), pytest.raises(openai.InternalServerError, match="too large"):
        client.images.edit(image=STYLE, prompt="a", model="signal-leak", size="64x64", extra_body=SMALL)


def test_a_job_that_takes_too_long_is_canceled(
    tmp_path_factory: pytest.TempPathFactory, gateway_redis: RedisProcess
) -> None:
    environ = {"STYLIZE_GATEWAY_WAIT_SECONDS": "0"}
    with Gateway(tmp_path_factory.mktemp("impatient"), gateway_redis, environ) as gateway:
        client = openai.OpenAI(base_url=f"http://127.0.0.1:{gateway.port}/v1", api_key="unused", max_retries=0)
        with client, pytest.raises(openai.InternalServerError) as late:
            client.images.edit(image=STYLE, prompt="a", model="signal-leak", size="64x64", extra_body=SMALL)
        assert late.value.status_code == 504
        assert gateway.store.page(limit=1).jobs[0].state is State.CANCELED


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b"[" * 5000, b'{"a": "' + b"x" * 70_000 + b'"}'])
def test_what_is_no_json_object_is_refused(gateway: Gateway, body: bytes) -> None:
    refused = gateway.client.post("/v1/images/generations", content=body, headers={"Content-Type": "application/json"})
    assert refused.status_code in (400, 413)
    assert refused.json()["error"]["type"] == "invalid_request_error"


@pytest.mark.parametrize(
    "name", ["prompt", "negative_prompt", "style_id", "model", "method", "params", "user", "\ud800"]
)
@pytest.mark.parametrize("wrap", [lambda half: half, lambda half: {"a": [half]}, lambda half: {half: 1}])
def test_half_a_surrogate_pair_is_422(gateway: Gateway, name: str, wrap: Any) -> None:
    body = json.dumps({name: wrap("\ud83c")})
    refused = gateway.client.post("/v1/images/generations", content=body, headers={"Content-Type": "application/json"})
    assert refused.status_code == 422
    assert [fault["pointer"] for fault in refused.json()["errors"]] == ["#/" + name.replace("\ud800", "")]
