"""The commands that talk to a service, against a real gateway; the test is the worker."""

import json
import threading
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from app.cli.main import app
from tests.support.gateway import Gateway
from tests.support.pictures import encoded, picture
from tests.support.service import PATIENCE, free_port
from workers.contract.jobs.models import Failure, State

PNG = encoded(picture(seed=3))


@pytest.fixture
def style(tmp_path: Path) -> str:
    (tmp_path / "style.png").write_bytes(encoded(picture()))
    return str(tmp_path / "style.png")


def stylize(gateway: Gateway, *arguments: str) -> Result:
    done = CliRunner().invoke(app, [*arguments, "--url", f"http://127.0.0.1:{gateway.port}"])
    if isinstance(done.exception, Exception):
        raise done.exception
    return done


def small(style: str) -> tuple[str, ...]:
    size = ("--width", "64", "--height", "64", "--steps", "2")
    return ("run", "--method", "signal-leak", "--style", style, "--prompt", "a house", *size)


def work(gateway: Gateway, *warnings: str) -> threading.Thread:
    """Do the next job that comes, as a worker would."""

    known = {job.id for job in gateway.store.page(limit=1).jobs}
    deadline = time.monotonic() + PATIENCE

    def do() -> None:
        while not (new := [job.id for job in gateway.store.page(limit=1).jobs if job.id not in known]):
            assert time.monotonic() < deadline, "no job came"
            time.sleep(0.01)
        gateway.finish(new[0], PNG, warnings)

    worker = threading.Thread(target=do)
    worker.start()
    return worker


def test_run_writes_the_pictures(gateway: Gateway, style: str, tmp_path: Path) -> None:
    worker = work(gateway)
    done = stylize(gateway, *small(style), "--out", str(tmp_path / "out"))
    worker.join()
    assert (done.exit_code, done.stderr) == (0, "")
    assert Path(done.stdout.strip()).read_bytes() == PNG


def test_run_says_what_was_not_read(gateway: Gateway, style: str, tmp_path: Path) -> None:
    worker = work(gateway, "prompt is too long; not read: a dog")
    done = stylize(gateway, *small(style), "--out", str(tmp_path / "out"))
    worker.join()
    assert (done.exit_code, done.stderr) == (0, "stylize: prompt is too long; not read: a dog\n")
    assert Path(done.stdout.strip()).read_bytes() == PNG


def test_run_as_json_and_detached(gateway: Gateway, style: str, tmp_path: Path) -> None:
    worker = work(gateway)
    done = stylize(gateway, *small(style), "--seed", "5", "--param", "leak_scale=0.5", "--json", "--out", str(tmp_path))
    worker.join()
    answer = json.loads(done.stdout)
    assert (answer["state"], answer["recipe"]["seed"]) == ("succeeded", 5)
    assert Path(answer["files"][0]).read_bytes() == PNG
    detached = stylize(gateway, *small(style), "--detach")
    assert gateway.store.get(detached.stdout.strip()) is not None


def test_what_is_wrong_is_a_line_per_field(gateway: Gateway, style: str) -> None:
    refused = stylize(gateway, *small(style), "--strength", "2", "--param", "nonsense=1")
    assert refused.exit_code == 2
    assert "stylize: strength: must be a number from 0 to 1\n" in refused.stderr
    assert "stylize: params/nonsense: unknown parameter" in refused.stderr
    assert stylize(gateway, *small(style), "--param", "leak_scale").exit_code == 2


def test_a_failed_job_and_an_absent_service_have_their_own_statuses(gateway: Gateway, style: str) -> None:
    job_id = stylize(gateway, *small(style), "--detach").stdout.strip()
    gateway.store.fail(gateway.claimed(job_id), Failure(code="out-of-memory", detail="too large"), retry=False)
    failed = stylize(gateway, "jobs", "download", job_id)
    assert (failed.exit_code, failed.stderr) == (1, f"stylize: job {job_id} failed: out-of-memory: too large\n")
    away = CliRunner().invoke(app, ["jobs", "show", "a", "--url", f"http://127.0.0.1:{free_port()}"])
    assert away.exit_code == 3
    assert away.stderr.startswith("stylize: no answer from http://127.0.0.1:")


def test_jobs_are_listed_shown_and_canceled(gateway: Gateway, style: str) -> None:
    first, second = (stylize(gateway, *small(style), "--detach").stdout.strip() for _ in range(2))
    listed = stylize(gateway, "jobs", "list", "--limit", "2")
    assert listed.stdout.index(second) < listed.stdout.index(first)
    assert [job["id"] for job in json.loads(stylize(gateway, "jobs", "list", "--limit", "2", "--json").stdout)] == [
        second,
        first,
    ]
    assert json.loads(stylize(gateway, "jobs", "show", first).stdout)["state"] == "queued"
    assert stylize(gateway, "jobs", "cancel", first, second).stdout == f"{first} canceled\n{second} canceled\n"
    job = gateway.store.get(first)
    assert job is not None
    assert job.state is State.CANCELED


@pytest.mark.parametrize("command", [["run"], ["jobs"], ["jobs", "list"], ["jobs", "download"]])
def test_help_says_what_the_exit_statuses_mean_or_what_there_is(command: list[str]) -> None:
    shown = CliRunner().invoke(app, [*command, "--help"])
    assert shown.exit_code == 0
    assert "Usage: " in shown.stdout


def test_styles_are_saved_listed_used_and_deleted(gateway: Gateway, style: str) -> None:
    saved = stylize(gateway, "styles", "save", "poster", "--style", style, "--weight", "2")
    style_id = saved.stdout.strip()
    assert saved.exit_code == 0, saved.stderr
    assert f"{style_id}  poster  1" in stylize(gateway, "styles", "list").stdout
    assert json.loads(stylize(gateway, "styles", "list", "--json").stdout)[0]["references"][0]["weight"] == 2.0
    size = ("--width", "64", "--height", "64", "--method", "signal-leak", "--prompt", "a", "--detach")
    assert stylize(gateway, "run", "--style-id", style_id, *size).exit_code == 0
    assert stylize(gateway, "styles", "delete", style_id).exit_code == 0
    assert stylize(gateway, "styles", "delete", style_id).exit_code == 2


def test_styles_are_prepared(gateway: Gateway, style: str) -> None:
    saved = stylize(gateway, "styles", "save", "poster", "--style", style, "--precompute", "signal-leak")
    style_id = saved.stdout.strip()
    assert saved.exit_code == 0, saved.stderr
    done = stylize(gateway, "styles", "precompute", style_id, "--method", "ip-adapter", "--model", "tiny-sdxl")
    assert done.exit_code == 0, done.stderr
    shown = stylize(gateway, "styles", "show", style_id)
    assert shown.stdout == done.stdout
    lines = {tuple(line.split()) for line in shown.stdout.splitlines()}
    assert lines >= {
        ("signal-leak", "tiny-sd15", "preparing"),
        ("ip-adapter", "tiny-sdxl", "preparing"),
        ("ip-adapter", "tiny-sd15", "cold"),
    }
    known = json.loads(stylize(gateway, "styles", "show", style_id, "--json").stdout)["prepared"]
    assert {"method": "style-id", "model": "tiny-sd15", "state": "cold", "workers": 0, "job": None} in known
    refused = stylize(gateway, "styles", "precompute", style_id, "--method", "nonsense")
    assert (refused.exit_code, refused.stderr[:24]) == (2, "stylize: method: must be")
    stylize(gateway, "styles", "delete", style_id)


def test_compare_writes_a_sheet_and_the_pictures(gateway: Gateway, style: str, tmp_path: Path) -> None:
    worker = work(gateway)
    size = ("--width", "64", "--height", "64", "--steps", "2", "--seed", "7", "--prompt", "a")
    made = stylize(
        gateway, "compare", "--method", "signal-leak", "--style", style, *size, "--out", str(tmp_path / "out")
    )
    worker.join()
    assert made.exit_code == 0, made.stderr
    sheet, file = (Path(line) for line in made.stdout.splitlines())
    assert sheet.name == "comparison.png"
    assert file.read_bytes() == PNG
    refused = stylize(gateway, "compare", "--method", "nonsense", "--style", style, "--prompt", "a")
    assert refused.exit_code == 2
