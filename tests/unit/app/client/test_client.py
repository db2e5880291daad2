"""The client against a real gateway; the test is the worker."""

import asyncio
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.client import AsyncClient, Client, Lists, operations
from app.client.errors import Busy, JobCanceled, JobFailed, NotDoneInTime, RequestRefused, ServiceAway
from app.client.operations import HTTPRequest, HTTPResponse, Sleep, StylizeFields
from app.schemas.job import JobView
from app.schemas.style import ComparisonView, StyleView
from deploy.embedded.demo import free_port
from tests.support.gateway import Gateway
from tests.support.pictures import encoded, picture
from workers.contract.jobs.models import Failure, Progress, State

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
    assert (job.state, job.recipe.strength, job.recipe.seed) == (State.QUEUED, 0.5, 7)
    gateway.finish(job.id, PNG)
    done = client.wait(job)
    (file,) = client.download(done, tmp_path / "out")
    assert file == tmp_path / "out" / f"{job.id}-0.png"
    assert file.read_bytes() == PNG
    assert client.job(job.id) == done
    assert client.jobs(limit=1).jobs[0].id == job.id
    assert "signal-leak" in [method.name for method in client.methods().methods]


def test_from_submit_to_the_files_without_blocking(gateway: Gateway, tmp_path: Path) -> None:
    async def story() -> list[Path]:
        async with AsyncClient(f"http://127.0.0.1:{gateway.port}") as client:
            job, other = await asyncio.gather(
                *(client.submit("signal-leak", style_images=[STYLE], **ASKED) for _ in range(2))
            )
            assert (await client.cancel(other)).state is State.CANCELED
            await asyncio.to_thread(gateway.finish, job.id, PNG)
            assert (await client.jobs(limit=1)).jobs
            assert (await client.methods()).methods
            assert (await client.job(job.id)).state is State.SUCCEEDED
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
    client.wait(job, seen=looks.append)
    worker.join()
    assert looks[-1].state is State.SUCCEEDED
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
        client.job("unknown")


def test_nobody_there_is_an_error_of_ours() -> None:
    with Client(f"http://127.0.0.1:{free_port()}") as client, pytest.raises(ServiceAway, match="no answer from http"):
        client.job("a")


def test_a_lost_answer_is_asked_for_again_under_the_same_key(gateway: Gateway, client: Client) -> None:
    exchange = operations.submit("signal-leak", {**ASKED, "style_images": [STYLE]})
    first = next(exchange)
    assert isinstance(first, HTTPRequest)
    arrived = client._answer(first)
    assert isinstance(exchange.send(HTTPResponse(0, b"the line was cut")), Sleep)
    again = next(exchange)
    assert isinstance(again, HTTPRequest)
    with pytest.raises(StopIteration) as end:
        exchange.send(client._answer(again))
    assert end.value.value.id == JobView.model_validate_json(arrived.content).id


def test_a_busy_service_is_given_the_time_it_wants() -> None:
    exchange = operations.job("a")
    next(exchange)
    busy = HTTPResponse(429, b'{"title":"The queue is full","detail":"wait"}', {"retry-after": "7"})
    for _ in range(operations.TRIES - 1):
        assert exchange.send(busy) == Sleep(7.0)
        next(exchange)
    with pytest.raises(Busy, match="wait"):
        exchange.send(busy)


def test_what_is_no_problem_document_is_still_an_error() -> None:
    exchange = operations.job("a")
    next(exchange)
    with pytest.raises(RequestRefused, match="the service answered 502"):
        exchange.send(HTTPResponse(502, b"<html>"))


def preparing(style: StyleView) -> set[str]:
    return {one.method for one in style.prepared if one.state == "preparing"}


def test_a_style_is_prepared_when_it_is_saved_and_later(client: Client) -> None:
    saved = client.save_style("poster", [PNG], precompute=["signal-leak"])
    assert preparing(saved) == {"signal-leak"}
    assert preparing(client.precompute(saved.id, ["style-id"], model="tiny-sdxl")) == {"signal-leak", "style-id"}
    with pytest.raises(RequestRefused, match="takes no style image"):
        client.precompute(saved.id, ["style-noise"])
    client.delete_style(saved.id)


def test_styles_and_comparisons(gateway: Gateway, client: Client) -> None:
    saved = client.save_style("poster", [STYLE, PNG], weights=[1, 0.5])
    assert client.styles(limit=1).styles == [saved] == [client.style(saved.id)]
    asked: StylizeFields = {"prompt": "a house", "width": 64, "height": 64, "steps": 2, "style_id": saved.id}
    made = client.compare(Lists(["signal-leak"], strengths=[0.5, 1], seeds=[7]), **asked)
    first, second = (cell.job.id for cell in made.cells if cell.job)
    gateway.finish(first, PNG)
    assert client.comparison(made.id).progress.finished == 1
    assert client.wait_all(made.id, seconds=0.1).state == "running"
    looks: list[ComparisonView] = []
    client.cancel_comparison(made.id)
    assert client.wait_all(made.id, seen=looks.append).state == "finished"
    assert looks
    assert client.sheet(made.id).startswith(b"\x89PNG")
    assert client.job(second).state is State.CANCELED
    client.delete_style(saved.id)
    with pytest.raises(RequestRefused, match="no such style"):
        client.delete_style(saved.id)


def test_styles_and_comparisons_without_blocking(gateway: Gateway) -> None:
    async def story() -> bytes:
        async with AsyncClient(f"http://127.0.0.1:{gateway.port}") as client:
            saved = await client.save_style("poster", [STYLE], precompute=["signal-leak"], model="tiny-sdxl")
            assert (await client.styles(limit=1)).styles == [saved] == [await client.style(saved.id)]
            assert preparing(saved) == {"signal-leak"}
            assert preparing(await client.precompute(saved.id, ["ip-adapter"])) == {"signal-leak", "ip-adapter"}
            made = await client.compare(Lists(["signal-leak"], seeds=[7]), style_id=saved.id, prompt="a")
            assert (await client.comparison(made.id)).id == made.id
            await client.cancel_comparison(made.id)
            await client.delete_style(saved.id)
            await client.wait_all(made.id)
            return await client.sheet(made.id)

    assert asyncio.run(story()).startswith(b"\x89PNG")
