"""One address, three clients: redis-py, Celery and the count of requests connect alike or none starts."""

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from kombu.exceptions import OperationalError
from redis import Redis
from redis.exceptions import RedisError

from app.auth.keyring import Caller
from app.auth.rate_limit import RateLimits
from app.errors import Unavailable
from deploy.embedded.redis import RedisProcess
from tests.support.service import PATIENCE
from tests.support.tls_redis import tls_door, write_certificate
from workers.contract.errors import Misconfigured
from workers.contract.jobs.store import JobStore
from workers.contract.queue.celery import create_celery
from workers.contract.runtime.redis import connect
from workers.contract.runtime.redis_url import build_broker_settings, parse_redis_url

PASSWORD = "p#?/%41;:@+ &w"
QUOTED = "p%23%3F%2F%2541%3B%3A%40%2B%20%26w"
ODD_NAMES = ("a # b", "a?b=c&d", "100%41", "a;b", "a b", "a+b", 'it\'s "q" \\', "é", os.fsdecode(b"\xff"))


def database_of(client: Redis) -> int:
    """Return the database that a client's connection has chosen, as the server tells it."""
    client.set_response_callback("CLIENT INFO", str)
    [number] = re.findall(r" db=(\d+)", str(client.client_info()))
    return int(number)


def by_redis(url: str) -> int:
    with connect(url) as redis:
        return database_of(redis)


def by_celery(url: str) -> int:
    with create_celery(url).connection_for_write() as connection:
        return database_of(connection.channel().client)


def by_limits(url: str) -> int:
    limits = RateLimits(url)
    limits.count(Caller("ann", rate="1000/minute"))
    pool = limits._limiter.storage.storage.connection_pool  # type: ignore[union-attr]
    return database_of(Redis(connection_pool=pool))


Reader = Callable[[str], int]
NOT_CONNECTED = (OSError, RedisError, OperationalError, Unavailable)
each_reader = pytest.mark.parametrize("reader", [by_redis, by_celery, by_limits])


@pytest.fixture(scope="module")
def locked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisProcess]:
    """A Redis that wants a password."""
    with RedisProcess(tmp_path_factory.mktemp("redis")) as child:
        with connect(child.url) as redis:
            redis.config_set("requirepass", PASSWORD)
        yield child


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_certificate(tmp_path_factory.mktemp("tls") / "server.pem")


@pytest.fixture(scope="module")
def tls_port(locked: RedisProcess, authority: Path) -> Iterator[int]:
    with tls_door(locked.socket, authority) as port:
        yield port


@each_reader
@pytest.mark.parametrize("words", [f"?db=3&password={QUOTED}", f"?password={QUOTED}&username=default&db=3"])
def test_words_behind_the_address_are_obeyed_by_all(locked: RedisProcess, reader: Reader, words: str) -> None:
    assert reader(locked.url + words) == 3


def test_a_database_that_the_server_does_not_have_is_a_bad_setting(locked: RedisProcess) -> None:
    with (
        connect(f"{locked.url}?db=99&password={QUOTED}") as redis,
        pytest.raises(Misconfigured, match=r"STYLIZE_REDIS_URL: .*out of range"),
    ):
        JobStore(redis).verify()


@each_reader
@pytest.mark.parametrize("credentials", [f":{QUOTED}@", f"default:{QUOTED}@"])
@pytest.mark.parametrize("database", ["/3", "/?db=3", "?db=3"])
def test_a_verified_server_is_reached_by_all(
    tls_port: int, authority: Path, reader: Reader, credentials: str, database: str
) -> None:
    mark = "&" if "?" in database else "?"
    url = f"rediss://{credentials}localhost:{tls_port}{database}{mark}ssl_ca_certs={authority}"
    assert reader(url) == 3


@each_reader
@pytest.mark.parametrize("words", ["", "?ssl_cert_reqs=CERT_REQUIRED", "?ssl_cert_reqs=optional"])
def test_an_impostor_is_sent_nothing_by_any(tls_port: int, reader: Reader, words: str) -> None:
    with pytest.raises(NOT_CONNECTED):
        reader(f"rediss://:{QUOTED}@localhost:{tls_port}/0{words}")


@each_reader
def test_a_certificate_for_another_name_is_refused_by_all(tls_port: int, authority: Path, reader: Reader) -> None:
    address = f"rediss://:{QUOTED}@127.0.0.1:{tls_port}/3?ssl_ca_certs={authority}"
    with pytest.raises(NOT_CONNECTED):
        reader(address)
    assert reader(f"{address}&ssl_check_hostname=false") == 3


@each_reader
@pytest.mark.parametrize("word", ["none", "CERT_NONE"])
def test_verification_is_switched_off_in_words_only(tls_port: int, reader: Reader, word: str) -> None:
    assert reader(f"rediss://:{QUOTED}@localhost:{tls_port}/3?ssl_cert_reqs={word}") == 3


@pytest.mark.parametrize("name", ODD_NAMES)
def test_a_folder_may_have_any_name(tmp_path: Path, name: str) -> None:
    with RedisProcess(tmp_path / name) as child:
        assert [reader(f"{child.url}?db=2") for reader in (by_redis, by_celery, by_limits)] == [2, 2, 2]


def test_several_hosts_are_not_made_of_one() -> None:
    url = build_broker_settings("redis://user:a%3Bb@h%3Bx:1/2")["broker_url"]
    assert ";" not in url
    assert build_broker_settings("redis://[::1]:1/2")["broker_url"] == "redis://%3A%3A1:1/2"


REFUSED = {
    "redis://localhost:6379/0?socket_timeout=3": "socket_timeout",
    "redis://localhost:6379/0?ssl_cert_reqs=none": "ssl_cert_reqs",
    "redis://localhost:6379/0?virtual_host=2": "virtual_host",
    "redis://localhost:6379/0?db=": "db",
    "redis://localhost:6379/0?db=1&db=2": "twice",
    "redis://localhost:6379/0?db=-1": "0 or more",
    "redis://localhost:6379/zero": "number of a database",
    "redis://localhost:6379/1/2": "number of a database",
    "redis://localhost:6379?db=zero": "db",
    "redis://localhost:port/0": "host and port",
    "redis://:secret/x@localhost:6379": "%2F",
    "redis://:secret#x@localhost:6379": "%23",
    "redis://:secret℀@localhost:6379": "host and port",
    "unix://run/redis.sock": "three slashes",
    "unix:///": "three slashes",
    "unix:///run/redis.sock#x": "%23",
    "sentinel://localhost:26379": "redis://",
    "valkey://localhost:6379": "redis://",
    "localhost:6379": "redis://",
    "": "redis://",
    "rediss://localhost:6379/0?ssl_cert_reqs=maybe": "ssl_cert_reqs",
    "rediss://localhost:6379/0?ssl_check_hostname=perhaps": "ssl_check_hostname",
    "rediss://localhost:6379/0?ssl_ca_certs=/nowhere.pem": "ssl_",
    "rediss://localhost:6379/0?ssl_keyfile=/nowhere.pem": "ssl_",
    "rediss://localhost:6379/0?ssl_min_version=high": "ssl_",
    "rediss://localhost:6379/0?ssl_ciphers=none-such": "ssl_",
    "rediss://localhost:6379/0?ssl_validate_ocsp=true": "ssl_validate_ocsp",
}


@pytest.mark.parametrize(("url", "named"), REFUSED.items())
def test_what_one_client_cannot_use_is_refused_by_all(url: str, named: str) -> None:
    for read in (parse_redis_url, connect, create_celery):
        with pytest.raises(Misconfigured, match=r"^STYLIZE_REDIS_URL: ") as refusal:
            read(url)
        assert named in str(refusal.value)
        assert "secret" not in str(refusal.value)
    with pytest.raises(Misconfigured, match=r"^STYLIZE_GATEWAY_LIMITS_URL: "):
        RateLimits(url)


@pytest.mark.parametrize("url", ["memcached://localhost", "async+memory://", "redis+cluster://localhost:1"])
def test_requests_are_counted_here_or_in_a_redis(url: str) -> None:
    with pytest.raises(Misconfigured, match="STYLIZE_GATEWAY_LIMITS_URL"):
        RateLimits(url)


@pytest.mark.parametrize("module", ["app", "workers.sweeper", "workers"])
def test_every_process_refuses_to_start_in_one_line(module: str, tmp_path: Path) -> None:
    environ = {
        "PATH": os.environ["PATH"],
        "STYLIZE_MODELS": "starter",
        "STYLIZE_BLOB_URL": f"file:{tmp_path}",
        "STYLIZE_REDIS_URL": "redis://localhost:1/0?socket_timeout=3",
    }
    command = (sys.executable, "-m", module)
    ended = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert ended.returncode == 2
    [line] = [line for line in ended.stderr.splitlines() if "STYLIZE_REDIS_URL" in line]
    assert "socket_timeout" in line
    assert "Traceback" not in ended.stderr
