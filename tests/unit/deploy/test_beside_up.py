"""Beside a running `stylize up` the commands find it by themselves, and what it advises works as printed."""

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest
from typer.testing import CliRunner

from app.cli.beside import find_stack, read_settings
from app.cli.main import app
from deploy.embedded.folder_lock import Holder, find_running
from tests.support.service import PATIENCE, free_port, until
from tests.unit.deploy.test_embedded import refusal
from workers.contract.errors import Misconfigured
from workers.contract.runtime.settings import Settings
from workers.settings import WorkerSettings

pytestmark = pytest.mark.xdist_group("service")

STYLIZE = (sys.executable, "-m", "app.cli.main")
ROOT = Path(__file__).parents[3]
CLEAN = {
    **{name: value for name, value in os.environ.items() if not name.startswith("STYLIZE_")},
    "PYTHONPATH": str(ROOT),
    "OMP_NUM_THREADS": "1",
}


class Running(NamedTuple):
    """A stack in the folder `data` of a working directory, as `stylize up` without options makes it."""

    directory: Path
    log: Path
    port: int


class Done(NamedTuple):
    """What a command gave."""

    status: int
    out: str
    err: str


Call = Callable[..., Done]


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch) -> Call:
    """Return what runs a command in a folder, with only the settings that are given."""

    def run(directory: Path, *arguments: str, **environ: str) -> Done:
        with monkeypatch.context() as patch:
            for name in [name for name in os.environ if name.startswith("STYLIZE_")]:
                patch.delenv(name)
            for name, value in environ.items():
                patch.setenv(name, value)
            patch.chdir(directory)
            done = CliRunner().invoke(app, arguments)
        if isinstance(done.exception, Misconfigured):
            return Done(2, done.stdout, str(done.exception))
        if isinstance(done.exception, Exception):
            raise done.exception
        return Done(done.exit_code, done.stdout, done.stderr)

    return run


def shell(line: str, directory: Path) -> subprocess.CompletedProcess[str]:
    """Run a line as a person who copies it."""
    return subprocess.run(
        ["/bin/sh", "-c", line],
        cwd=directory,
        env=CLEAN,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with stack_in(tmp_path_factory.mktemp("a # b %41;é")) as started:
        yield started


@contextmanager
def stack_in(directory: Path) -> Iterator[Running]:
    log, port = directory / "up.log", free_port()
    with log.open("wb") as stream:
        process = subprocess.Popen(
            [*STYLIZE, "up", "--port", str(port)], cwd=directory, env=CLEAN, stdout=stream, stderr=stream
        )
    try:
        until(lambda: "listening on" in log.read_text() or process.poll() is not None, "the gateway listens")
        assert process.poll() is None, log.read_text()
        yield Running(directory, log, port)
    finally:
        process.terminate()
        process.wait(PATIENCE)


def test_the_note_says_what_commands_need(running: Running) -> None:
    noted = find_running(running.directory / "data")
    assert noted is not None
    assert noted.url == f"http://127.0.0.1:{running.port}"
    assert (noted.models, noted.model_dir) == ("starter", str(running.directory / "data" / "models"))
    assert (running.directory / "data" / "up.json").stat().st_mode & 0o77 == 0


def test_commands_without_an_option_find_the_stack(call: Call, running: Running) -> None:
    for command in (["jobs", "list"], ["keys", "list"], ["jobs", "list", "--all-owners"], ["styles", "list"]):
        done = call(running.directory, *command)
        assert (done.status, done.err) == (0, ""), command
    doctor = call(running.directory, "doctor")
    assert f"runs at http://127.0.0.1:{running.port}, pid " in doctor.out
    assert "fault" not in re.sub(r"fault +disk", "", doctor.out)
    assert "starter is installed" in doctor.out
    missing = call(running.directory, "models", "show", "sd15")
    store = running.directory / "data" / "models"
    assert f"--store {shlex.quote(str(store))}" in missing.out


@pytest.mark.parametrize("where", ["before", "behind", "environment"])
def test_from_elsewhere_the_folder_is_named(call: Call, running: Running, tmp_path: Path, where: str) -> None:
    folder = str(running.directory / "data")
    option, environ = (("--data-dir", folder), {}) if where != "environment" else ((), {"STYLIZE_DATA_DIR": folder})
    before, behind = (option, ()) if where == "before" else ((), option)
    assert call(tmp_path, "keys", *before, "list", *behind, **environ).status == 0
    assert call(tmp_path, "models", *before, "list", *behind, **environ).status == 0
    assert call(tmp_path, "jobs", "list", *option, **environ).status == 0
    assert "runs at" in call(tmp_path, "doctor", *option, **environ).out
    assert list(tmp_path.iterdir()) == [], "no command makes a folder"


def test_the_advice_of_the_gateway_works_as_printed(call: Call, tmp_path: Path) -> None:
    """On a stack of its own: one that has had a key stays closed."""
    (tmp_path / "a # b %41;é").mkdir()
    with stack_in(tmp_path / "a # b %41;é") as running:
        [advice] = re.findall(r"open to this machine \(`(.+)` closes it\)", running.log.read_text())
        done = shell(advice, tmp_path)
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.startswith("stylize_")
        until(lambda: call(running.directory, "jobs", "list").status == 2, "it is closed to callers without a key")
        assert call(running.directory, "jobs", "list", STYLIZE_CLIENT_KEY=done.stdout.strip()).status == 0


def test_settings_of_another_service_are_obeyed_beside_a_stack(
    running: Running, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(running.directory)
    assert read_settings(WorkerSettings, None).models == ("starter",)
    monkeypatch.setenv("STYLIZE_MODELS", "sd15")
    kept = read_settings(WorkerSettings, None)
    assert (kept.models, kept.blob_url) == (("sd15",), f"file:{running.directory / 'data' / 'blobs'}")
    assert read_settings(Settings, Path("data")).models == ("starter",), "an option says that the stack is meant"
    monkeypatch.setenv("STYLIZE_REDIS_URL", "redis://elsewhere")
    monkeypatch.setenv("STYLIZE_DATA_DIR", str(running.directory / "data"))
    assert read_settings(Settings, None) == Settings.read()
    assert find_stack(None) is None


def test_without_a_stack_nothing_is_made_and_it_is_said(call: Call, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    note = Holder(pid=999_999_999, port=1, redis_url="unix:///gone", url="http://127.0.0.1:1")
    (tmp_path / "data" / "up.json").write_text(note.model_dump_json())
    doctor = call(tmp_path, "doctor", "--data-dir", "data")
    assert doctor.status == 1
    assert "fault   stack" in doctor.out
    assert f"up --data-dir {tmp_path / 'data'}" in doctor.out
    plain = call(tmp_path, "doctor")
    assert "start Redis or stylize up" in plain.out
    assert "data/blobs will be made" in plain.out
    for command in (["keys", "list"], ["run", "--prompt", "x"]):
        done = call(tmp_path, *command, "--data-dir", "data")
        assert done.status == 2
        assert "no `stylize up`" in done.err
    assert [path.name for path in tmp_path.rglob("*")] == ["data", "up.json"]


def test_a_key_for_other_machines_can_be_made_while_nothing_runs(call: Call, tmp_path: Path) -> None:
    """The refusal of a stack that would be open to others names the command that lets it start."""
    options = ("--host", "0.0.0.0", "--port", str(free_port()), "--data-dir", str(tmp_path / "my data"))  # noqa: S104
    process = subprocess.run(
        [*STYLIZE, "up", *options], env=CLEAN, capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    assert process.returncode == 1
    [advice] = re.findall(r"make one with `(.+)`, or set", process.stderr)
    made = shell(advice, tmp_path)
    assert (made.returncode, made.stderr) == (0, "")
    listed = call(tmp_path, "keys", "list", "--json", "--data-dir", "my data")
    assert '"name": "me"' in listed.out


def test_a_host_that_is_none_is_told(tmp_path: Path) -> None:
    line = refusal("--host", "nowhere.invalid", "--data-dir", str(tmp_path))
    assert re.search(r"cannot listen on nowhere\.invalid:8000: [A-Z][a-z ]+", line)
