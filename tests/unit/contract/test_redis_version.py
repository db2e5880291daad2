"""Which releases of Redis and Valkey have the patch of their scripting, and how a server tells its release."""

from pathlib import Path
from typing import Literal

import pytest

from deploy.embedded.redis import RedisProcess
from tests.support.old_redis import OLD_REDIS, OLD_VALKEY, install_server
from workers.contract.errors import StoreUnavailable
from workers.contract.runtime.redis import connect
from workers.contract.runtime.redis_version import RedisVersion, read_version


@pytest.mark.parametrize(
    ("name", "version", "patched"),
    [
        *(("Redis", old, False) for old in ("5.0.14", "6.2.14", "6.2.20", "7.0.15", "7.2.4", "7.2.10", "7.4.5")),
        *(("Redis", old, False) for old in ("7.3.240", "8.0", "8.0.5", "8.1.240", "8.2.1", "", "unknown")),
        *(("Redis", new, True) for new in ("7.2.11", "7.2.12", "7.4.6", "8.0.6", "8.2.2", "8.4.0", "10.0.0")),
        *(("Valkey", old, False) for old in ("7.2.4", "7.2.10", "8.0.0-rc1", "8.0.5", "8.1.0", "8.1.3")),
        *(("Valkey", new, True) for new in ("7.2.11", "8.0.6", "8.1.4", "8.1.8", "9.0.0", "255.255.255")),
    ],
)
def test_a_release_has_the_patch_if_it_is_its_line_s_first_or_later(
    name: Literal["Redis", "Valkey"], version: str, patched: bool
) -> None:
    assert RedisVersion(name, version).patched is patched


def test_a_server_tells_its_name_version_and_program(tmp_path: Path) -> None:
    with RedisProcess(tmp_path) as child, connect(child.url) as client:
        server = read_version(client)
        assert Path(server.program).samefile(f"/proc/{child.pid}/exe")
        assert server.version
        assert str(server) == f"{server.name} {server.version}"


@pytest.mark.parametrize(("changes", "told"), [(OLD_VALKEY, "Valkey 8.0.5"), (OLD_REDIS, "Redis 7.2.4")])
def test_the_server_on_path_goes_before_the_bundled_one(
    changes: dict[bytes, bytes], told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = install_server(tmp_path / "bin", "redis-server", changes)
    monkeypatch.setenv("PATH", str(program.parent))
    with RedisProcess(tmp_path / "data") as child, connect(child.url) as client:
        server = read_version(client)
    assert (str(server), server.program, server.patched) == (told, str(program), False)


def test_a_server_that_is_away_is_a_store_that_is_unavailable(tmp_path: Path) -> None:
    with connect(f"unix://{tmp_path}/none.sock") as client, pytest.raises(StoreUnavailable):
        read_version(client)
