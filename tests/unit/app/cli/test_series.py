"""`stylize series` and the names of files, against a real gateway; the test is the worker."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from typer.testing import CliRunner

from app.cli.main import app
from tests.support.gateway import Gateway
from tests.support.pictures import encoded, picture
from tests.support.service import PATIENCE
from tests.unit.app.cli.test_commands import PNG, stylize
from workers.contract.jobs.models import Failure, State

SIZE = ("--method", "signal-leak", "--width", "64", "--height", "64", "--steps", "2")


@pytest.fixture
def style(tmp_path: Path) -> str:
    (tmp_path / "style.png").write_bytes(encoded(picture()))
    return str(tmp_path / "style.png")


@contextmanager
def worker(gateway: Gateway, failing: str = "") -> Iterator[None]:
    """Do each job that comes meanwhile, in its order; fail those whose prompt is `failing`."""
    ended, known = threading.Event(), {job.id for job in gateway.store.page(limit=100).jobs}
    deadline = time.monotonic() + PATIENCE

    def do() -> None:
        while not ended.is_set() and time.monotonic() < deadline:
            for job in gateway.store.page(limit=20, state=State.QUEUED).jobs[::-1]:
                if job.id in known:
                    continue
                if getattr(job.request, "prompt", "") == failing:
                    gateway.store.fail(gateway.claimed(job.id), Failure(code="broken", detail="no"), retry=False)
                else:
                    gateway.finish(job.id, PNG)
            time.sleep(0.01)

    thread = threading.Thread(target=do)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def test_each_prompt_of_a_file_is_drawn_and_named(gateway: Gateway, style: str, tmp_path: Path) -> None:
    prompts = tmp_path / "prompts.txt"
    prompts.write_text("\ufeffa boat\n\n# not this\n  A House, by a lake  \nwill fail\nlast\n" + "x" * 2001 + "\n")
    out = tmp_path / "out"
    with worker(gateway, failing="will fail"):
        done = stylize(gateway, "series", "--prompts", str(prompts), "--style", style, *SIZE, "--out", str(out))
    assert done.exit_code == 1, done.output
    names = ["01-a-boat-seed7.png", "02-a-house-by-a-lake-seed7.png", "04-last-seed7.png"]
    assert done.stdout.split() == [str(out / name) for name in names]
    assert sorted(file.name for file in out.iterdir()) == [*names, "recipes.json"]
    assert (out / names[0]).read_bytes() == PNG
    told = json.loads((out / "recipes.json").read_text())
    assert [(one["file"], one["recipe"]["prompt"]) for one in told] == list(
        zip(names, ["a boat", "A House, by a lake", "last"], strict=True)
    )
    assert "'will fail': job " in done.stderr
    assert "prompt: must have at most 2000 characters" in done.stderr


def test_a_series_that_is_refused_as_a_whole_says_so_once(gateway: Gateway, style: str, tmp_path: Path) -> None:
    (tmp_path / "prompts.txt").write_text("a\nb\nc\n")
    command = ("series", "--prompts", str(tmp_path / "prompts.txt"), "--style", style, *SIZE)
    refused = stylize(gateway, *command, "--strength", "2")
    assert (refused.exit_code, refused.stderr) == (2, "stylize: strength: must be a number from 0 to 1\n")
    (tmp_path / "prompts.txt").write_text("# nothing\n")
    assert "has 0 prompts" in stylize(gateway, *command).stderr


def test_what_waits_is_canceled_when_the_series_ends_early(gateway: Gateway, style: str, tmp_path: Path) -> None:
    (tmp_path / "prompts.txt").write_text("only this\nand that\n")
    (tmp_path / "out").write_text("a file where the folder should be")
    command = ("series", "--prompts", str(tmp_path / "prompts.txt"), "--style", style, *SIZE)
    before = {job.id for job in gateway.store.page(limit=100).jobs}

    def finish_first() -> None:
        while not (new := [j for j in gateway.store.page(limit=100).jobs if j.id not in before]):
            time.sleep(0.01)
        gateway.finish(new[-1].id, PNG)

    first = threading.Thread(target=finish_first)
    first.start()
    ended = CliRunner().invoke(
        app, [*command, "--out", str(tmp_path / "out"), "--url", f"http://127.0.0.1:{gateway.port}"]
    )
    first.join()
    assert ended.exit_code == 1
    new = [job for job in gateway.store.page(limit=100).jobs if job.id not in before]
    assert {job.request.prompt: job.state for job in new if hasattr(job.request, "prompt")} == {
        "only this": State.SUCCEEDED,
        "and that": State.CANCELED,
    }


def test_files_are_named_by_a_template(gateway: Gateway, style: str, tmp_path: Path) -> None:
    run = ("run", "--style", style, "--prompt", "a [boat]", *SIZE)
    with worker(gateway):
        done = stylize(gateway, *run, "--out", str(tmp_path / "a"), "--name", "{prompt}_{seed}_{method}")
    assert done.stdout.strip() == str(tmp_path / "a" / "a-boat_7_signal-leak.png")
    job_id = gateway.store.page(limit=1).jobs[0].id
    download = ("jobs", "download", job_id, "--out", str(tmp_path / "a"))
    assert stylize(gateway, *download).stdout.strip() == str(tmp_path / "a" / f"{job_id}-0.png")
    (tmp_path / "a" / "01.png").write_bytes(b"another picture")
    assert stylize(gateway, *download, "--name", "{n:02}").stdout.strip() == str(tmp_path / "a" / "01-2.png")
    assert (tmp_path / "a" / "01.png").read_bytes() == b"another picture"
    refused = stylize(gateway, *run, "--name", "{colour}{n}")
    assert refused.exit_code == 2
    assert "unknown colour" in refused.stderr
    listed = stylize(gateway, "jobs", "list", "--text", "[BOAT]", "--method", "prior-noise", "--limit", "5")
    assert "a [boat]" in listed.stdout
    assert len(listed.stdout.splitlines()) == 2
