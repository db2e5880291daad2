"""`POST /stylize`: what is accepted, what is refused and how it says so."""

import asyncio
import hashlib
import resource
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx2
import pytest
from PIL import Image

from deploy.embedded.redis import RedisProcess
from tests.support.gateway import Gateway
from tests.support.pictures import FORM, encoded, multipart, picture, style
from workers.contract.blobs import input_name

PROBLEM = "application/problem+json"
CROWD = 1000


def test_a_good_request_is_accepted_with_every_default_filled_in(gateway: Gateway) -> None:
    answer = gateway.post({"seed": None, "steps": None, "width": None, "height": None, "params": '{"leak_scale": 2}'})
    assert answer.status_code == 202
    job = answer.json()
    assert answer.headers["location"] == job["links"]["self"] == f"/jobs/{job['id']}"
    assert len(job["id"]) >= 22  # 128 bits
    assert (job["state"], job["method"], job["model"], job["priority"]) == (
        "queued",
        "signal-leak",
        "tiny-sd15",
        "interactive",
    )
    recipe = job["recipe"]
    assert recipe["params"]["leak_scale"] == 2
    assert recipe["params"]["sampler"] == "ddim"
    assert 0 <= recipe["seed"] < 2**32
    assert recipe["style_weights"] == [1.0]
    assert (recipe["num_images"], recipe["strength"], recipe["output_format"]) == (1, 1.0, "png")
    assert recipe["steps"] > 0
    assert recipe["width"] % 8 == recipe["height"] % 8 == 0


def test_seeds_are_drawn_anew(gateway: Gateway) -> None:
    seeds = {gateway.accepted({"seed": None})["recipe"]["seed"] for _ in range(4)}
    assert len(seeds) == 4


def test_only_the_decoded_pixels_are_stored(gateway: Gateway) -> None:
    upload = encoded(picture(), "JPEG", comment=b"secret") + b"<script>appended</script>"
    job = gateway.accepted(files=style(upload, "s.jpg", "image/jpeg"))
    (sha256,) = job["recipe"]["style_images"]
    stored = gateway.blobs.get(input_name(sha256))
    assert hashlib.sha256(stored).hexdigest() == sha256
    assert Image.open(BytesIO(stored)).format == "PNG"
    assert b"secret" not in stored
    assert b"appended" not in stored


def test_several_references_keep_their_order_and_weights(gateway: Gateway) -> None:
    files = [style(encoded(picture(seed=n)))[0] for n in range(3)]
    first = gateway.accepted({"style_weights": "1,0.5,0.25"}, files)["recipe"]
    assert first["style_weights"] == [1.0, 0.5, 0.25]
    turned = gateway.accepted({"style_weights": "1,0.5,0.25"}, files[::-1])["recipe"]
    assert turned["style_images"] == first["style_images"][::-1]


def test_the_family_alias_means_its_technique(gateway: Gateway) -> None:
    assert gateway.accepted({"method": "prior-noise"})["method"] == "signal-leak"


def test_the_model_decides_queue_and_defaults(gateway: Gateway) -> None:
    job = gateway.accepted({"model": "tiny-sdxl", "width": None, "height": None})
    assert job["model"] == "tiny-sdxl"
    stored = gateway.store.get(job["id"])
    assert stored is not None
    assert stored.queue == "tiny-sdxl"


def test_empty_fields_count_as_absent(gateway: Gateway) -> None:
    job = gateway.accepted({"negative_prompt": "", "guidance_scale": "", "style_weights": "", "params": ""})
    assert job["recipe"]["negative_prompt"] == ""


BAD: list[tuple[dict[str, Any], str, str]] = [
    ({"method": "stable-diffusion"}, "#/method", "must be one of"),
    ({"prompt": None}, "#/prompt", "is required"),
    ({"prompt": "   "}, "#/prompt", "is required"),
    ({"prompt": "a" * 2001}, "#/prompt", "2000 characters"),
    ({"prompt": "a\x00b"}, "#/prompt", "control characters"),
    ({"unheard_of": "1"}, "#/unheard_of", "known are style_image"),
    ({"style_id": "1"}, "#/style_id", "not both"),
    ({"webhook_url": "https://127.0.0.1/"}, "#/webhook_url", "not public"),
    ({"webhook_url": "http://example.org/"}, "#/webhook_url", "STYLIZE_GATEWAY_WEBHOOK_ALLOW"),
    ({"guidance_scale": "NaN"}, "#/guidance_scale", "from 0 to 30"),
    ({"strength": "inf"}, "#/strength", "from 0 to 1"),
    ({"steps": "true"}, "#/steps", "from 1 to 150"),
    ({"seed": "9223372036854775808"}, "#/seed", "9223372036854775807"),
    ({"width": "100"}, "#/width", "multiple of 8"),
    ({"width": "2048", "height": "2048"}, "#/width", "3145728 pixels"),
    ({"width": "2048", "height": "1536", "steps": "150", "num_images": "8"}, "#/steps", "cost"),
    ({"num_images": "9"}, "#/num_images", "from 1 to 8"),
    ({"model": "sdxl-turbo"}, "#/model", "tiny-sd15, tiny-sdxl"),
    ({"style_weights": "1,1"}, "#/style_weights", "one number per style image"),
    ({"params": "[]"}, "#/params", "object"),
    ({"params": "{"}, "#/params", "JSON"),
    ({"params": '{"leak_scale": NaN}'}, "#/params/leak_scale", "finite"),
    ({"params": '{"leak_scale": true}'}, "#/params/leak_scale", "number"),
    ({"params": '{"leak_scale": "1"}'}, "#/params/leak_scale", "number"),
    ({"params": '{"leak_scale": 99}'}, "#/params/leak_scale", "must be a number from 0 to 3"),
    ({"params": '{"loras": [{"id": "a", "weight": 1}]}'}, "#/params/loras/0/weight", "unknown; known: id, scale"),
    ({"params": '{"loras": [{"name": "a"}]}'}, "#/params/loras/0/id", "is required"),
    ({"params": '{"loras": [{"id": "a", "scale": 3}]}'}, "#/params/loras/0/scale", "must be a number from -2 to 2"),
    ({"method": "style-noise"}, "#/params/style", "is required: the installed style"),
    ({"params": '{"nope": 1}'}, "#/params/nope", ", single_reference"),
    ({"params": "[" * 30000}, "#/params", "recursion"),
]


@pytest.mark.parametrize(("fields", "pointer", "words"), BAD, ids=[next(iter(bad[0])) for bad in BAD])
def test_bad_fields_are_refused_by_name_and_limit(
    gateway: Gateway, fields: dict[str, Any], pointer: str, words: str
) -> None:
    answer = gateway.post(fields)
    assert answer.status_code == 422
    assert answer.headers["content-type"] == PROBLEM
    problem = answer.json()
    assert problem["type"] == "urn:stylize:problem:invalid-request"
    assert problem["status"] == 422
    assert any(fault["pointer"] == pointer and words in fault["detail"] for fault in problem["errors"]), problem


def test_all_faults_are_told_at_once(gateway: Gateway) -> None:
    problem = gateway.post({"prompt": None, "steps": "0", "params": '{"nope": 1}'}, files=[]).json()
    assert {fault["pointer"] for fault in problem["errors"]} == {
        "#/prompt",
        "#/steps",
        "#/params/nope",
        "#/style_image",
    }


def test_number_and_kind_of_pictures_follow_the_spec(gateway: Gateway) -> None:
    png = encoded(picture())
    cases = [
        ([], "#/style_image", "1 to 4 style images"),
        (style() * 5, "#/style_image", "at most 4"),
        ([*style(), ("content_image", ("c.png", png))], "#/content_image", "takes no content image"),
        ([*style(), ("control_image", ("c.png", png))], "#/control_image", "takes no control image"),
        ([*style(), ("mask_image", ("m.png", png))], "#/mask_image", "takes no mask"),
    ]
    for files, pointer, words in cases:
        (fault,) = gateway.post(files=files).json()["errors"]
        assert fault["pointer"] == pointer
        assert words in fault["detail"]


def test_pictures_of_another_type_are_415(gateway: Gateway) -> None:
    gif = encoded(picture(), "GIF")
    for files, more in (
        (style(gif, "a.gif", "image/gif"), "; this is a GIF picture: save one frame as PNG or JPEG"),
        (style(gif), "; this is a GIF picture: save one frame as PNG or JPEG"),
        (style(b"hello"), ""),
    ):
        for answer in (gateway.post(files=files), gateway.client.post("/styles", data={"name": "a"}, files=files)):
            assert answer.status_code == 415
            assert answer.json()["errors"] == [
                {"pointer": "#/style_image/0", "detail": f"must be a PNG, JPEG or WebP picture{more}"}
            ]


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (encoded(picture(size=(200, 200)))[:900], "truncated"),
        (encoded(picture("L", (1, 1))), "16 x 16"),
        (encoded(Image.new("1", (8000, 7500))), "32,000,000 pixels"),
        (encoded(Image.new("1", (9000, 20))), "8192"),
        (encoded(picture(), save_all=True, append_images=[picture(seed=1)]), "animated"),
        (encoded(picture("RGB"), "WEBP", save_all=True, append_images=[picture("RGB", seed=1)]), "animated"),
    ],
    ids=["truncated", "one pixel", "60 megapixels", "long side", "animated png", "animated webp"],
)
def test_pictures_that_break_a_rule_are_422(gateway: Gateway, data: bytes, words: str) -> None:
    answer = gateway.post(files=[style(data)[0], style()[0]])
    assert answer.status_code == 422
    problem = answer.json()
    assert problem["type"] == "urn:stylize:problem:picture-refused"
    (fault,) = problem["errors"]
    assert fault["pointer"] == "#/style_image/0"
    assert words in fault["detail"]


def test_other_bodies_are_refused(gateway: Gateway) -> None:
    form = multipart({"method": "signal-leak"}, {})
    kinds = {"Content-Type": "multipart/form-data; boundary=x"}
    cases: list[tuple[bytes, dict[str, str], int]] = [
        (b"{", {"Content-Type": "application/json"}, 400),
        (b"a", {"Content-Type": "text/plain"}, 415),
        (form, {"Content-Type": "multipart/form-data"}, 415),
        (form, {}, 415),
        (form, kinds | {"Content-Encoding": "gzip"}, 415),
        (form[:-4], kinds, 400),
        (b"", kinds, 400),
    ]
    for body, headers, status in cases:
        answer = gateway.client.post("/stylize", content=body, headers=headers)
        assert answer.status_code == status, answer.text
        assert answer.headers["content-type"] == PROBLEM


def test_nothing_is_stored_of_a_refused_request(gateway: Gateway) -> None:
    before = {blob.name for blob in gateway.blobs.list("inputs/")}
    jobs = gateway.store.queue_stats()
    fresh = style(encoded(picture(seed=12345)))
    assert gateway.post({"steps": "0"}, fresh).status_code == 422
    assert gateway.post(files=[*fresh, *style(encoded(picture())[:60])]).status_code == 422
    assert {blob.name for blob in gateway.blobs.list("inputs/")} == before
    assert [line.count for line in gateway.store.queue_stats().queued] == [line.count for line in jobs.queued]


class TestIdempotency:
    def test_the_same_request_gets_the_first_job_also_with_another_boundary(self, gateway: Gateway) -> None:
        first = gateway.accepted({"seed": None}, **{"Idempotency-Key": "same"})
        again = gateway.accepted({"seed": None}, **{"Idempotency-Key": "same"})
        assert (again["id"], again["recipe"]) == (first["id"], first["recipe"])

    def test_another_request_is_a_conflict(self, gateway: Gateway) -> None:
        gateway.accepted({"prompt": "a"}, **{"Idempotency-Key": "other"})
        answer = gateway.post({"prompt": "b"}, **{"Idempotency-Key": "other"})
        assert answer.status_code == 409
        assert answer.json()["type"] == "urn:stylize:problem:idempotency-conflict"

    def test_a_thousand_at_once_make_one_job(self, tmp_path: Path, gateway_redis: RedisProcess) -> None:
        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))  # a connection each, and a file of memory each
        patient = {"STYLIZE_GATEWAY_UPLOADS": str(CROWD), "STYLIZE_GATEWAY_FORM_SECONDS": "300"}
        with Gateway(tmp_path, gateway_redis, patient) as gateway:
            before = sum(line.count for line in gateway.store.queue_stats().queued)

            async def crowd() -> list[httpx2.Response]:
                limits = httpx2.Limits(max_connections=CROWD)
                url = f"http://127.0.0.1:{gateway.port}/stylize"
                async with httpx2.AsyncClient(limits=limits, timeout=300) as client:

                    async def post() -> httpx2.Response:
                        while True:
                            answer = await client.post(
                                url, data=FORM, files=style(), headers={"Idempotency-Key": "crowd"}
                            )
                            if answer.status_code != httpx2.codes.SERVICE_UNAVAILABLE:
                                return answer
                            await asyncio.sleep(1)  # a busy machine says: later

                    return await asyncio.gather(*(post() for _ in range(CROWD)))

            answers = asyncio.run(crowd())
            assert {answer.status_code for answer in answers} == {202}
            assert len({answer.json()["id"] for answer in answers}) == 1
            assert len(answers) == CROWD
            assert sum(line.count for line in gateway.store.queue_stats().queued) == before + 1

    @pytest.mark.parametrize("key", ["a" * 256, "a b", "é"])
    def test_strange_keys_are_refused(self, gateway: Gateway, key: str) -> None:
        answer = gateway.client.post("/stylize", headers={"Idempotency-Key": key.encode()})
        assert answer.status_code == 422
        assert answer.json()["errors"][0]["pointer"] == "#/Idempotency-Key"
