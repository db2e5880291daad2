"""The client against a real gateway; the test is the worker."""

import asyncio
import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from stylize_client import (
    AsyncClient,
    Busy,
    Client,
    ComparisonView,
    JobCanceled,
    JobFailed,
    JobState,
    JobView,
    NotDoneInTime,
    RequestRefused,
    ServiceAway,
    StyleView,
    StylizeFields,
    UnexpectedResponse,
)
from stylize_client.http import TRIES, HTTPRequest, HTTPResponse, Sleep
from stylize_client.operations import Operations

from tests.support.gateway import Gateway
from tests.support.pictures import encoded, picture
from tests.support.service import free_port
from workers.contract.jobs.models import Failure, Progress

ASKED: StylizeFields = {"prompt": "a house", "seed": 7, "steps": 2, "width": 64, "height": 64, "params": {}}
STYLE = encoded(picture())
PNG = encoded(picture(seed=3))


@pytest.fixture
def client(gateway: Gateway) -> Iterator[Client]:
    with Client(f"http://127.0.0.1:{gateway.port}") as opened:
        yield opened


def submitted(client: Client) -> JobView:
    return client.submit("signal-leak", style_images=[STYLE], **ASKED)


def test_from_submit_to_the_files(gateway: Gateway, client: Client, tmp_path: Path) -> None:
    (tmp_path / "style.png").write_bytes(STYLE)
    job = client.submit("signal-leak", style_images=[tmp_path / "style.png"], strength=0.5, **ASKED)
    assert (job.state, job.recipe.strength, job.recipe.seed) == (JobState.QUEUED, 0.5, 7)
    gateway.finish(job.id, PNG)
    done = client.wait(job)
    (file,) = client.download(done, tmp_path / "out")
    assert file == tmp_path / "out" / f"{job.id}-0.png"
    assert file.read_bytes() == PNG
    assert client.get_job(job.id) == done
    assert client.list_jobs(limit=1).jobs[0].id == job.id
    assert "signal-leak" in [method.name for method in client.list_methods().methods]


def test_from_submit_to_the_files_without_blocking(gateway: Gateway, tmp_path: Path) -> None:
    async def story() -> list[Path]:
        async with AsyncClient(f"http://127.0.0.1:{gateway.port}") as client:
            job, other = await asyncio.gather(
                *(client.submit("signal-leak", style_images=[STYLE], **ASKED) for _ in range(2))
            )
            assert (await client.cancel(other)).state is JobState.CANCELED
            await asyncio.to_thread(gateway.finish, job.id, PNG)
            assert (await client.list_jobs(limit=1)).jobs
            assert (await client.list_methods()).methods
            assert (await client.get_job(job.id)).state is JobState.SUCCEEDED
            return await client.download(await client.wait(job), tmp_path)

    (file,) = asyncio.run(story())
    assert file.read_bytes() == PNG


def test_waiting_tells_how_far_the_job_is(gateway: Gateway, client: Client) -> None:
    job = submitted(client)
    looks: list[JobView] = []

    def work() -> None:
        claim = gateway.claimed(job.id)
        gateway.store.beat(claim, Progress(stage="denoise", step=1, steps=2, fraction=0.5))
        while not any(look.progress for look in looks):
            time.sleep(0.01)
        gateway.store.release(claim)
        gateway.finish(job.id, PNG)

    worker = threading.Thread(target=work)
    worker.start()
    client.wait(job, on_update=looks.append)
    worker.join()
    assert looks[-1].state is JobState.SUCCEEDED
    assert looks[-1].progress is not None
    assert looks[-1].progress.fraction == 1.0
    assert {look.progress.step for look in looks[:-1] if look.progress} == {1}


def test_jobs_that_come_to_nothing_raise(gateway: Gateway, client: Client) -> None:
    job = submitted(client)
    with pytest.raises(NotDoneInTime, match="it is queued"):
        client.wait(job, seconds=0.1)
    client.cancel(job)
    with pytest.raises(JobCanceled):
        client.wait(job.id)
    failed = submitted(client)
    gateway.store.fail(gateway.claimed(failed.id), Failure(code="out-of-memory", detail="too large"), retry=False)
    with pytest.raises(JobFailed, match="out-of-memory: too large"):
        client.wait(failed)


def test_a_problem_names_each_field(client: Client) -> None:
    with pytest.raises(RequestRefused) as refused:
        client.submit("signal-leak", style_images=[STYLE], prompt="a", steps=1000, width=7)
    assert refused.value.status == 422
    assert refused.value.type == "urn:stylize:problem:invalid-request"
    assert {error["pointer"] for error in refused.value.errors} == {"#/steps", "#/width"}
    with pytest.raises(RequestRefused, match="no such job"):
        client.get_job("unknown")


def test_nobody_there_is_an_error_of_ours() -> None:
    with Client(f"http://127.0.0.1:{free_port()}") as client, pytest.raises(ServiceAway, match="no answer from http"):
        client.get_job("a")


def test_a_lost_answer_is_asked_for_again_under_the_same_key(gateway: Gateway, client: Client) -> None:
    steps = Operations.submit(None, "signal-leak", style_images=[STYLE], **ASKED)
    first = next(steps)
    assert isinstance(first, HTTPRequest)
    arrived = client._take(first)
    assert isinstance(arrived, HTTPResponse)
    assert isinstance(steps.send(HTTPResponse(0, b"the line was cut")), Sleep)
    again = steps.send(None)
    assert isinstance(again, HTTPRequest)
    with pytest.raises(StopIteration) as end:
        steps.send(client._take(again))
    assert end.value.value.id == JobView.model_validate_json(arrived.content).id


def test_a_busy_service_is_given_the_time_it_wants() -> None:
    steps = Operations.get_job(None, "a")
    next(steps)
    busy = HTTPResponse(429, b'{"title":"The queue is full","detail":"wait"}', {"retry-after": "7"})
    for _ in range(TRIES - 1):
        assert steps.send(busy) == Sleep(7.0)
        next(steps)
    with pytest.raises(Busy, match="wait"):
        steps.send(busy)


def test_what_is_no_problem_document_is_still_an_error() -> None:
    steps = Operations.get_job(None, "a")
    next(steps)
    with pytest.raises(RequestRefused, match="the service answered 502"):
        steps.send(HTTPResponse(502, b"<html>"))


@pytest.mark.parametrize("content", [b"<html>", b"[]", b'{"id":"a","state":"dreaming"}'])
def test_an_answer_that_is_none_of_the_service_is_an_error_of_ours(content: bytes) -> None:
    steps = Operations.get_job(None, "a")
    next(steps)
    with pytest.raises(UnexpectedResponse, match="the answer is no JobView: "):
        steps.send(HTTPResponse(200, content))


def test_what_a_newer_service_adds_comes_back_with_its_recipe(gateway: Gateway, client: Client) -> None:
    document = json.loads(gateway.client.get(f"/jobs/{submitted(client).id}").content)
    document["recipe"]["sampler"] = "new"
    recipe = JobView.model_validate_json(json.dumps(document)).recipe
    request = next(Operations.submit_recipe(None, recipe, seed=8))
    assert isinstance(request, HTTPRequest)
    assert json.loads(request.fields["recipe"]) == document["recipe"]
    assert request.fields["seed"] == "8"


def test_a_picture_that_is_not_there_is_named_before_anything_is_sent(client: Client, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"missing\.png"):
        client.submit("signal-leak", prompt="a", style_images=[tmp_path / "missing.png"])


def preparing(style: StyleView) -> set[str]:
    return {one.method for one in style.prepared if one.state == "preparing"}


def test_a_style_is_prepared_when_it_is_saved_and_later(client: Client) -> None:
    saved = client.save_style("poster", [PNG], precompute=["signal-leak"])
    assert preparing(saved) == {"signal-leak"}
    assert preparing(client.precompute_style(saved.id, ["style-id"], model="tiny-sdxl")) == {"signal-leak", "style-id"}
    with pytest.raises(RequestRefused, match="takes no style image"):
        client.precompute_style(saved.id, ["style-noise"])
    client.delete_style(saved.id)


def test_styles_and_comparisons(gateway: Gateway, client: Client) -> None:
    saved = client.save_style("poster", [STYLE, PNG], weights=[1, 0.5])
    assert client.list_styles(limit=1).styles == [saved] == [client.get_style(saved.id)]
    asked: StylizeFields = {"prompt": "a house", "width": 64, "height": 64, "steps": 2, "style_id": saved.id}
    made = client.compare(["signal-leak"], strengths=[0.5, 1], seeds=[7], **asked)
    first, second = (cell.job.id for cell in made.cells if cell.job)
    gateway.finish(first, PNG)
    assert client.get_comparison(made.id).progress.finished == 1
    assert client.wait_comparison(made.id, seconds=0.1).state == "running"
    looks: list[ComparisonView] = []
    client.cancel_comparison(made.id)
    assert client.wait_comparison(made.id, on_update=looks.append).state == "finished"
    assert looks
    assert client.get_contact_sheet(made.id).startswith(b"\x89PNG")
    assert client.get_job(second).state is JobState.CANCELED
    client.delete_style(saved.id)
    with pytest.raises(RequestRefused, match="no such style"):
        client.delete_style(saved.id)


def test_styles_and_comparisons_without_blocking(gateway: Gateway) -> None:
    async def story() -> bytes:
        async with AsyncClient(f"http://127.0.0.1:{gateway.port}") as client:
            saved = await client.save_style("poster", [STYLE], precompute=["signal-leak"], model="tiny-sdxl")
            assert (await client.list_styles(limit=1)).styles == [saved] == [await client.get_style(saved.id)]
            assert preparing(saved) == {"signal-leak"}
            assert preparing(await client.precompute_style(saved.id, ["ip-adapter"])) == {"signal-leak", "ip-adapter"}
            made = await client.compare(["signal-leak"], seeds=[7], style_id=saved.id, prompt="a")
            assert (await client.get_comparison(made.id)).id == made.id
            await client.cancel_comparison(made.id)
            await client.delete_style(saved.id)
            await client.wait_comparison(made.id)
            return await client.get_contact_sheet(made.id)

    assert asyncio.run(story()).startswith(b"\x89PNG")
