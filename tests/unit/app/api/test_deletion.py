"""DELETE of a job: canceled while it is not final, else gone with all that nothing else names."""

import pytest
from stylize_client import Client, RequestRefused
from typer.testing import CliRunner

from app.cli.main import app
from tests.support.gateway import Gateway
from tests.support.pictures import encoded, picture, style
from tests.unit.app.api.test_jobs import other_owners_job
from workers.contract.blobs import input_name, job_prefix
from workers.contract.jobs.models import State
from workers.contract.jobs.previews import PreviewStore
from workers.contract.runtime.redis import connect
from workers.contract.styles.store import StyleStore


def done(gateway: Gateway, shade: int) -> dict[str, str]:
    """Return the id of a finished job and the sha256 of the reference that only it names."""
    job = gateway.accepted(files=style(encoded(picture(seed=shade))))
    gateway.finish(job["id"], encoded(picture(seed=shade + 1)))
    return {"id": job["id"], "input": job["recipe"]["style_images"][0]}


def kept(gateway: Gateway, prefix: str) -> set[str]:
    return {stored.name for stored in gateway.blobs.list(prefix)}


def test_a_final_job_goes_with_its_pictures_previews_and_references(gateway: Gateway) -> None:
    with connect(gateway.environ["STYLIZE_REDIS_URL"]) as redis:
        job = gateway.accepted(files=style(encoded(picture(seed=8101))))
        sha256 = job["recipe"]["style_images"][0]
        claim = gateway.claimed(job["id"])
        PreviewStore(redis).show(claim, 1, b"jpeg")
        gateway.store.release(claim)
        gateway.finish(job["id"], encoded(picture()))
        answer = gateway.client.delete(f"/jobs/{job['id']}")
        assert (answer.status_code, answer.content) == (204, b"")
        assert kept(gateway, job_prefix(job["id"])) == set()
        assert input_name(sha256) not in kept(gateway, "inputs/")
        names = [key for key in redis.scan_iter("stylize:*", count=1000) if job["id"] in key]
        assert names == []
    for path in (f"/jobs/{job['id']}", f"/jobs/{job['id']}/images/0", f"/inputs/{sha256}"):
        assert gateway.client.get(path).status_code == 404
    assert job["id"] not in [one["id"] for one in gateway.client.get("/jobs?limit=100").json()["jobs"]]
    assert gateway.client.delete(f"/jobs/{job['id']}").status_code == 404


def test_a_reference_stays_while_another_job_or_style_names_it(gateway: Gateway) -> None:
    first = done(gateway, 8200)
    second = gateway.accepted(files=style(encoded(picture(seed=8200))))
    assert gateway.client.delete(f"/jobs/{first['id']}").status_code == 204
    assert gateway.client.get(f"/inputs/{first['input']}").status_code == 200
    gateway.client.delete(f"/jobs/{second['id']}")
    assert gateway.client.get(f"/inputs/{first['input']}").status_code == 200, "a canceled job names it"
    files = style(encoded(picture(seed=8200)))
    saved = gateway.client.post("/styles", data={"name": "kept"}, files=files).raise_for_status().json()
    assert gateway.client.delete(f"/jobs/{second['id']}").status_code == 204
    assert gateway.client.get(f"/inputs/{first['input']}").status_code == 200
    gateway.client.delete(f"/styles/{saved['id']}")


def test_a_job_that_waits_or_runs_is_canceled_and_not_deleted(gateway: Gateway) -> None:
    waiting, running = gateway.accepted(), gateway.accepted()
    assert gateway.client.delete(f"/jobs/{waiting['id']}").json()["state"] == "canceled"
    claim = gateway.claimed(running["id"])
    for _ in range(2):
        answer = gateway.client.delete(f"/jobs/{running['id']}")
        assert (answer.status_code, answer.json()["state"]) == (200, "canceling")
    assert gateway.store.canceled(claim)
    assert gateway.client.get(f"/jobs/{running['id']}").json()["state"] == "canceled"


def test_a_cancel_never_deletes_what_has_just_ended(gateway: Gateway) -> None:
    job = gateway.accepted()
    cancel = job["links"]["cancel"]
    assert job["links"]["delete"] is None
    gateway.finish(job["id"], encoded(picture()))
    assert gateway.client.delete(cancel).json()["state"] == "succeeded"
    with Client(f"http://127.0.0.1:{gateway.port}") as client:
        assert client.cancel(job["id"]).state == "succeeded"
        assert client.delete(client.get_job(job["id"])) is None
        with pytest.raises(RequestRefused, match="no such job"):
            client.get_job(job["id"])


def test_another_callers_job_cannot_be_deleted(gateway: Gateway) -> None:
    job_id = other_owners_job(gateway)
    gateway.store.cancel(job_id)
    assert gateway.client.delete(f"/jobs/{job_id}").status_code == 404
    job = gateway.store.get(job_id)
    assert job is not None
    assert job.state is State.CANCELED


def test_workers_learn_which_references_went(gateway: Gateway) -> None:
    with connect(gateway.environ["STYLIZE_REDIS_URL"]) as redis:
        styles = StyleStore(redis)
        _, number = styles.deleted_since(0)
        first, again = done(gateway, 8300), done(gateway, 8300)
        gateway.client.delete(f"/jobs/{first['id']}")
        assert styles.deleted_since(number)[0] == set()
        gateway.client.delete(f"/jobs/{again['id']}")
        assert styles.deleted_since(number)[0] == {first["input"]}


def test_jobs_are_deleted_by_the_command(gateway: Gateway) -> None:
    jobs = [done(gateway, shade)["id"] for shade in (8401, 8402)]
    told = CliRunner().invoke(app, ["jobs", "delete", *jobs, "--url", f"http://127.0.0.1:{gateway.port}"])
    assert (told.exit_code, told.stdout.split()) == (0, jobs)
    assert gateway.store.many(jobs) == {}
