"""One folder, one stack: whoever comes second is told who was first, and changes nothing."""

import fcntl
import json
import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from redis.exceptions import RedisError

from deploy.embedded.folder_lock import NOTE, CannotLock, FolderLock, Holder, find_running, read_holder
from deploy.embedded.redis import RedisProcess, RedisUnavailable
from tests.support.service import PATIENCE, free_port, until
from tests.unit.deploy.test_embedded import refusal, up
from workers.contract.runtime.redis import connect

pytestmark = pytest.mark.xdist_group("service")


@contextmanager
def stack(folder: Path) -> Iterator[tuple[subprocess.Popen[str], Holder]]:
    """Give a stack whose Redis answers, and what it says of itself; killed afterwards."""
    process = up("--port", str(free_port()), "--data-dir", str(folder))
    try:
        until(lambda: redis_answers(folder) or process.poll() is not None, "Redis answers")
        assert process.poll() is None, process.communicate()[1]
        holder = read_holder(folder)
        assert holder is not None
        yield process, holder
    finally:
        process.kill()
        process.communicate()


def redis_answers(folder: Path) -> bool:
    if (holder := find_running(folder)) is None:
        return False
    try:
        with connect(holder.redis_url) as redis:
            return bool(redis.ping())
    except RedisError:
        return False


def state(folder: Path, holder: Holder) -> tuple[object, ...]:
    """Return what a second stack would change: the first one's files and its server."""
    files = {path.name: path.lstat().st_ino for path in (folder / "redis").iterdir()}
    with connect(holder.redis_url) as redis:
        return files, redis.info("server")["run_id"], read_holder(folder)


def test_a_second_stack_names_the_first_and_touches_nothing(tmp_path: Path) -> None:
    folder, link = tmp_path / "a # data;folder", tmp_path / "link"
    folder.mkdir()
    link.symlink_to(folder)
    with stack(folder) as (process, holder):
        before = state(folder, holder)
        for port, name in ((free_port(), link), (holder.port, folder)):
            line = refusal("--port", str(port), "--data-dir", str(name))
            assert f"{folder} is in use by pid {process.pid} on port {holder.port}" in line
        assert state(folder, holder) == before
        process.send_signal(signal.SIGKILL)
        process.wait(PATIENCE)
        with stack(folder) as (_, later):
            assert later.port != holder.port


def test_the_lock_ends_with_its_holder_and_its_note_too(tmp_path: Path) -> None:
    with FolderLock(tmp_path) as lock:
        lock.write(holder := Holder(pid=os.getpid(), port=8000, redis_url="unix:///x"))
        with pytest.raises(CannotLock, match=f"is in use by pid {os.getpid()} on port 8000"), FolderLock(tmp_path):
            pass
        assert find_running(tmp_path) == holder
    assert read_holder(tmp_path) is None
    (tmp_path / NOTE).write_text(json.dumps({"pid": os.getpid(), "port": 1, "redis_url": "unix:///old"}))
    assert find_running(tmp_path) is None, "a pid that somebody else has by now says nothing"
    with FolderLock(tmp_path):
        assert read_holder(tmp_path) is None


@pytest.mark.parametrize(
    "note", ["", "nonsense", "[1]", '{"pid": "x"}', '{"pid": 999999999, "port": 1, "redis_url": ""}']
)
def test_a_lock_whose_holder_cannot_be_named_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, note: str
) -> None:
    monkeypatch.setattr("deploy.embedded.folder_lock.WAIT_SECONDS", 0.1)
    (tmp_path / NOTE).write_text(note)
    with (tmp_path / NOTE).open("r+") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(CannotLock, match="is in use; choose another"), FolderLock(tmp_path):
            pass


def test_a_folder_without_a_right_to_lock_is_one_line(tmp_path: Path) -> None:
    (tmp_path / NOTE).mkdir()
    with pytest.raises(CannotLock, match=r"cannot lock .*Is a directory"), FolderLock(tmp_path):
        pass


def test_the_socket_of_a_living_redis_is_never_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("deploy.embedded.redis.ENDING_SECONDS", 0.1)
    with RedisProcess(tmp_path) as first:
        second = RedisProcess(tmp_path)
        with pytest.raises(RedisUnavailable, match="another Redis is running"), second:
            pass
        with connect(first.url) as redis:
            assert redis.ping()
            first.kill()  # which leaves its socket
            assert first.socket.exists()
            with second:
                assert redis.ping()


def test_the_socket_of_a_redis_too_busy_to_answer_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("deploy.embedded.redis.ENDING_SECONDS", 0.1)
    with socket.socket(socket.AF_UNIX) as busy:
        busy.bind(str(tmp_path / "redis.sock"))
        busy.listen(0)
        with pytest.raises(RedisUnavailable, match="another Redis is running"), RedisProcess(tmp_path):
            pass
        assert (tmp_path / "redis.sock").exists()


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("STYLIZE_BLOB_URL", "s3://bucket"),
        ("STYLIZE_REDIS_URL", "redis://h"),
        ("stylize_redis_url", "redis://h"),
        ("STYLIZE_REDIS_URL_FILE", "/run/x"),
        ("STYLIZE_S3_ENDPOINT_URL", "http://minio:9000"),
        ("STYLIZE_S3_REGION", "eu-central-1"),
        ("STYLIZE_WORKER_ID", "me"),
        ("STYLIZE_WORKER_GRACE_SECONDS", "60"),
    ],
)
def test_a_setting_that_would_not_be_obeyed_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    monkeypatch.setenv(variable, value)
    line = refusal("--port", str(free_port()), "--data-dir", str(tmp_path / "data"))
    assert f"{variable} is set, but `stylize up`" in line
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("variable", ["stylize_models", "STYLIZE_MODEL_DIR_FILE", "STYLIZE_GATEWAY_PORT_FILE"])
def test_what_is_read_under_its_own_name_only_is_refused_under_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    monkeypatch.setenv(variable, "x")
    line = refusal("--data-dir", str(tmp_path / "data"))
    assert f"{variable} is set, but `stylize up` reads {variable.upper().removesuffix('_FILE')} alone" in line


def test_host_and_port_are_obeyed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        monkeypatch.setenv("STYLIZE_GATEWAY_PORT", str(taken.getsockname()[1]))
        assert f":{taken.getsockname()[1]}: Address already in use" in refusal("--data-dir", str(tmp_path))
