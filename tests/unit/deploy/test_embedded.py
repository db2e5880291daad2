"""The embedded stack as its user meets it: one command up, one Ctrl-C down, one line when it cannot start."""

import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import httpx2
import pytest

from deploy.embedded.demo import ready
from deploy.embedded.environment import build_environment
from deploy.embedded.redis import RedisProcess
from deploy.embedded.stack import children, report_server
from tests.support.old_redis import OLD_REDIS, install_server
from tests.support.service import PATIENCE, free_port, until

pytestmark = pytest.mark.xdist_group("service")


def up(*arguments: str, path: str | None = None) -> subprocess.Popen[str]:
    environ = {**os.environ, "OMP_NUM_THREADS": "1"} | ({"PATH": path} if path is not None else {})
    command = [sys.executable, "-m", "app.cli.main", "up", *arguments]
    return subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def read_start(process: subprocess.Popen[str]) -> list[str]:
    """Return what a stack prints until it says that it is ready, or until it ends."""
    lines: list[str] = []
    while not (lines and lines[-1].startswith("stylize: ready")):
        assert process.stdout is not None
        if not (line := process.stdout.readline()):
            break
        lines.append(line)
    return lines


def refusal(*arguments: str, path: str | None = None) -> str:
    process = up(*arguments, path=path)
    _, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == 1
    [line] = errors.strip().splitlines()
    return line


def below(pid: int) -> set[int]:
    children = {int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()}
    return children.union(*map(below, children))


def gone(pid: int) -> bool:
    """Return whether a process has ended; who takes in orphans may not have looked yet."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def test_a_taken_port_is_one_line(tmp_path: Path) -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = str(holder.getsockname()[1])
        line = refusal("--port", port, "--data-dir", str(tmp_path))
    assert f"127.0.0.1:{port}" in line
    assert "--port" in line


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    line = refusal("--port", str(free_port()), "--data-dir", str(tmp_path / "file"))
    assert "--data-dir" in line


def test_a_bad_setting_ends_everything_and_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STYLIZE_LEASE_SECONDS", "soon")
    line = refusal("--port", str(free_port()), "--data-dir", str(tmp_path / "data"))
    assert "STYLIZE_LEASE_SECONDS: must be a number" in line


@pytest.mark.parametrize(
    ("variable", "value", "told"),
    [
        ("STYLIZE_GATEWAY_UPLOADS", "many", "STYLIZE_GATEWAY_UPLOADS: must be a whole number"),
        ("STYLIZE_WORKER_DEVICE", "gpu", "STYLIZE_WORKER_DEVICE: must be auto, cpu, cuda or cuda:N"),
        ("STYLIZE_SWEEPER_PERIOD_SECONDS", "0", "STYLIZE_SWEEPER_PERIOD_SECONDS: must be a number above 0"),
        ("STYLIZE_PORT", "1", "unknown setting STYLIZE_PORT (did you mean STYLIZE_GATEWAY_PORT?)"),
        ("STYLIZE_MODELS", "sd99", "STYLIZE_MODELS names what is no base model that is served here: sd99"),
    ],
)
def test_settings_of_all_processes_are_read_before_one_starts(
    variable: str, value: str, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, value)
    assert told in refusal("--port", str(free_port()), "--data-dir", str(tmp_path))
    assert not (tmp_path / "redis").exists()


def test_a_server_with_known_holes_is_named_at_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    server = install_server(tmp_path / "bin", "redis-server", OLD_REDIS)
    monkeypatch.setenv("PATH", str(server.parent), prepend=os.pathsep)
    with RedisProcess(tmp_path / "redis") as redis:
        report_server(redis)
    said = capsys.readouterr()
    assert said.out == f"stylize: started Redis 7.2.4 ({server})\n"
    assert said.err.startswith("stylize: warning: Redis 7.2.4 has known holes in its scripting: update it to 7.2.11")


@pytest.mark.parametrize(("setting", "kept"), [(None, "8760"), ("48", "48")])
def test_jobs_are_kept_for_a_year_or_as_long_as_is_set(
    setting: str | None, kept: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("STYLIZE_RETENTION_HOURS", raising=False)
    if setting:
        monkeypatch.setenv("STYLIZE_RETENTION_HOURS", setting)
    stack = children("127.0.0.1", 1, build_environment(tmp_path, "unix:///x", os.environ), 1)
    assert {child.name: child.environ["STYLIZE_RETENTION_HOURS"] for child in stack} == dict.fromkeys(
        ("worker 1", "sweeper", "gateway"), kept
    )


def test_one_ctrl_c_ends_everything(tmp_path: Path) -> None:
    port = free_port()
    process = up("--port", str(port), "--data-dir", str(tmp_path / "data # ? %41 ; folder"))
    try:
        lines = read_start(process)
        assert lines[-1] == f"stylize: ready with starter: open http://127.0.0.1:{port}\n", process.communicate()[1]
        with httpx2.Client(base_url=f"http://127.0.0.1:{port}", timeout=PATIENCE) as client:
            assert ready(client)
        family = below(process.pid)
        assert len(family) >= 4, "Redis, gateway, sweeper, worker"
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=PATIENCE)
        assert process.returncode == 0
        said = "".join(lines)
        assert re.search(r"^stylize: keeps jobs and pictures for 8760 hours in .*STYLIZE_RETENTION_HOURS", said, re.M)
        assert re.search(r"^stylize: started (Redis|Valkey) [\d.]+ \(/.*-server\)$", said, re.MULTILINE), said
        until(lambda: all(map(gone, family)), "nothing is left")
    finally:
        if process.poll() is None:
            process.kill()
            process.communicate()


@pytest.mark.parametrize(("given", "told"), [({}, "false"), ({"STYLIZE_GATEWAY_ACCESS_LOG": "true"}, "true")])
def test_requests_are_told_on_the_terminal_only_when_asked(tmp_path: Path, given: dict[str, str], told: str) -> None:
    assert build_environment(tmp_path, "unix:///x", given)["STYLIZE_GATEWAY_ACCESS_LOG"] == told
