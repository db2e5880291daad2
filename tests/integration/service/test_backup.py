"""Backup and restore: jobs, keys, styles and pictures of one moment come back in an empty Redis, or nothing does."""

import os
import shutil
import stat
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from app.auth.api_key import create_api_key
from app.auth.key_store import KeyStore
from deploy.embedded.folder_lock import FolderLock, Holder
from deploy.embedded.redis import RedisProcess
from tests.support.gateway import Gateway
from tests.support.pictures import encoded, picture, style
from tests.support.service import PATIENCE
from workers.contract.runtime.redis import connect

ROOT = Path(__file__).parents[3]
STYLIZE = (sys.executable, "-m", "app.cli.main")
EXPIRES = 4_000_000_000_000
PICTURE = encoded(picture(seed=7))


def stylize(*arguments: object, folder: Path, redis: RedisProcess | None = None, stdin: Any = None) -> Any:
    """Run the command as an operator does, in a folder of its own, with the stores of `folder`."""
    stores = {"STYLIZE_REDIS_URL": redis.url, "STYLIZE_BLOB_URL": f"file:{folder / 'blobs'}"} if redis else {}
    environ = {**os.environ, **stores, "PYTHONPATH": str(ROOT)}
    command = [*STYLIZE, *map(str, arguments)]
    return subprocess.run(
        command, env=environ, cwd=folder, stdin=stdin, capture_output=True, timeout=PATIENCE, check=False
    )


@dataclass(frozen=True)
class Original:
    """A service with work in it, and its backup."""

    redis: RedisProcess
    folder: Path
    file: Path
    token: dict[str, str]
    queued: str
    finished: str
    style: str


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Original]:
    folder = tmp_path_factory.mktemp("original")
    with RedisProcess(folder / "redis") as redis, connect(redis.url) as client:
        key, token = create_api_key("ann")
        KeyStore(client).put(key)
        client.set("stylize:test", "kept until then", pxat=EXPIRES)
        headers = {"Authorization": f"Bearer {token}"}
        with Gateway(folder, redis) as gateway:
            finished = gateway.accepted({"seed": "4"}, **headers)["id"]
            gateway.finish(finished, PICTURE)
            queued = gateway.accepted({"webhook_url": "https://example.com/hook"}, **headers)["id"]
            saved = gateway.client.post("/styles", data={"name": "neon"}, files=style(), headers=headers)
            assert saved.status_code == 201, saved.text
        done = stylize("backup", folder / "backup.tar", "--pictures", folder=folder, redis=redis)
        assert done.returncode == 0, done.stderr
        yield Original(redis, folder, folder / "backup.tar", headers, queued, finished, saved.json()["id"])


@pytest.fixture
def empty(tmp_path: Path) -> Iterator[RedisProcess]:
    with RedisProcess(tmp_path / "redis") as redis:
        yield redis


READ = {
    "string": lambda client, key: client.get(key),
    "hash": lambda client, key: client.hgetall(key),
    "set": lambda client, key: client.smembers(key),
    "zset": lambda client, key: client.zrange(key, 0, -1, withscores=True),
    "list": lambda client, key: client.lrange(key, 0, -1),
    "stream": lambda client, key: client.xrange(key),
}


def keys(redis: RedisProcess) -> dict[str, tuple[int, Any]]:
    """Return when each key expires (-1: never), and its content: a dump has the fields of a hash in any order."""
    with connect(redis.url) as client:
        return {key: (client.pexpiretime(key), READ[client.type(key)](client, key)) for key in client.scan_iter()}


def test_jobs_keys_styles_and_pictures_come_back(original: Original, tmp_path: Path, empty: RedisProcess) -> None:
    done = stylize("restore", original.file, folder=tmp_path, redis=empty)
    assert done.returncode == 0, done.stderr
    assert keys(empty)["stylize:test"][0] == EXPIRES
    with Gateway(tmp_path, empty) as gateway:
        assert gateway.client.get(f"/jobs/{original.queued}").status_code == 401, "the keys are there"
        gateway.client.headers.update(original.token)
        assert gateway.client.get(f"/jobs/{original.queued}").json()["state"] == "queued"
        assert gateway.client.get(f"/jobs/{original.finished}/images/0").content == PICTURE
        assert [found["id"] for found in gateway.client.get("/styles").json()["styles"]] == [original.style]
        assert gateway.finish(original.queued, PICTURE).webhook_url, "a worker can still do what waited"
        assert gateway.client.get(f"/jobs/{original.queued}").json()["state"] == "succeeded"


def test_a_backup_is_for_its_owner_only_and_has_no_partial_left(original: Original) -> None:
    assert stat.S_IMODE(original.file.stat().st_mode) == 0o600
    assert not list(original.folder.glob("*.partial"))


def test_a_redis_that_holds_something_is_kept_unless_it_is_to_be_replaced(
    original: Original, tmp_path: Path, empty: RedisProcess
) -> None:
    with connect(empty.url) as client:
        client.set("stylize:mine", "1")
    refused = stylize("restore", original.file, folder=tmp_path, redis=empty)
    assert (refused.returncode, b"--replace" in refused.stderr) == (1, True)
    assert set(keys(empty)) == {"stylize:mine"}
    assert stylize("restore", original.file, "--replace", folder=tmp_path, redis=empty).returncode == 0
    assert keys(empty) == keys(original.redis)


def damaged(file: Path, how: str) -> bytes:
    data = file.read_bytes()
    if how == "empty":
        return b""
    if how == "other":
        return PICTURE
    with tarfile.open(file) as tar:
        member = tar.getmember("redis.bin")
    if how == "cut":
        return data[: member.offset_data + member.size // 2]
    if how == "changed":  # within the last value, before its checksum
        at = member.offset_data + member.size - 12
        return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]
    assert how == "without keys"
    return data[: member.offset] + b"\0" * 1024


@pytest.mark.parametrize("how", ["cut", "empty", "other", "changed", "without keys"])
def test_a_damaged_backup_restores_nothing(original: Original, tmp_path: Path, empty: RedisProcess, how: str) -> None:
    (tmp_path / "damaged.tar").write_bytes(damaged(original.file, how))
    done = stylize("restore", "damaged.tar", folder=tmp_path, redis=empty)
    assert done.returncode == 1
    assert done.stderr.startswith(b"stylize restore: "), done.stderr
    assert done.stderr.count(b"\n") == 1
    assert keys(empty) == {}


def test_a_redis_that_is_away_is_one_line(tmp_path: Path) -> None:
    away = RedisProcess(tmp_path / "redis")
    done = stylize("backup", "backup.tar", folder=tmp_path, redis=away)
    assert (done.returncode, done.stderr.count(b"\n")) == (1, 1)
    assert not (tmp_path / "backup.tar").exists()


def test_the_folder_of_a_stack_that_does_not_run_is_backed_up_and_restored(original: Original, tmp_path: Path) -> None:
    before = keys(original.redis)
    assert stylize("restore", original.file, "--data-dir", "one", folder=tmp_path).returncode == 0
    assert stylize("backup", "again.tar", "--pictures", "--data-dir", "one", folder=tmp_path).returncode == 0
    assert stylize("restore", "again.tar", "--data-dir", "two", folder=tmp_path).returncode == 0
    with RedisProcess(tmp_path / "two" / "redis") as redis:
        assert keys(redis) == before
    pictures = {path.relative_to(tmp_path / "two") for path in (tmp_path / "two" / "blobs").rglob("*.png")}
    assert pictures == {path.relative_to(original.folder) for path in (original.folder / "blobs").rglob("*.png")}
    assert pictures


def test_a_stack_that_runs_here_is_found(original: Original, tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    with FolderLock(folder) as lock, RedisProcess(folder / "redis") as redis:
        lock.write(Holder(pid=os.getpid(), port=8000, redis_url=redis.url, blob_url=f"file:{folder / 'blobs'}"))
        assert stylize("restore", original.file, folder=tmp_path).returncode == 0
        assert keys(redis) == keys(original.redis)
        assert stylize("backup", "-", folder=tmp_path).stdout[:10] == b"about.json"


DOCKER = """#!/bin/sh
echo "$*" >>"$CALLS"
[ "$1 $2 $3 $4 $5" != "compose run --rm -T backup" ] || { shift 5 && exec "$PYTHON" -m app.cli.main "$@"; }
"""


def test_the_scripts_of_compose_move_a_service_to_another_host(
    original: Original, tmp_path: Path, empty: RedisProcess
) -> None:
    """The stand-in for docker runs what the container would run."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "docker").write_text(DOCKER)
    (tmp_path / "bin" / "docker").chmod(0o755)

    def script(host: str, name: str, redis: RedisProcess, *options: str) -> subprocess.CompletedProcess[str]:
        compose = tmp_path / host / "deploy" / "compose"
        shutil.copytree(
            ROOT / "deploy" / "compose", compose, ignore=shutil.ignore_patterns("secrets"), dirs_exist_ok=True
        )
        environ = {
            "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}",
            "CALLS": str(tmp_path / "calls"),
            "PYTHON": sys.executable,
            "PYTHONPATH": str(ROOT),
            "STYLIZE_REDIS_URL": redis.url,
            "STYLIZE_BLOB_URL": f"file:{(original.folder if host == 'old' else tmp_path) / 'blobs'}",
        }
        command = ["sh", compose / name, tmp_path / "backup", *options]
        return subprocess.run(command, env=environ, capture_output=True, text=True, check=False, timeout=PATIENCE)

    secrets = tmp_path / "old" / "deploy" / "compose" / "secrets"
    secrets.mkdir(parents=True)
    (secrets / "redis_auth").write_text("requirepass old\n")
    (tmp_path / "old" / ".env").write_text("COMPOSE_PROFILES=gpu\n")
    saved = script("old", "backup.sh", original.redis, "--pictures")
    assert saved.returncode == 0, saved.stderr
    assert {stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "backup").iterdir()} == {0o600}
    back = script("new", "restore.sh", empty)
    assert back.returncode == 0, back.stderr
    assert keys(empty) == keys(original.redis)
    assert (tmp_path / "new" / "deploy" / "compose" / "secrets" / "redis_auth").read_text() == "requirepass old\n"
    assert (tmp_path / "new" / ".env").read_text() == "COMPOSE_PROFILES=gpu\n"
    assert (tmp_path / "calls").read_text().splitlines() == [
        "compose run --rm -T backup backup - --pictures",
        "compose down",
        "compose run --rm -T backup restore -",
    ]
    again = script("new", "restore.sh", empty)
    assert again.returncode == 1
    assert "--replace" in again.stderr
