"""One Redis with keys for each file of tests."""

from collections.abc import Iterator

import pytest

from app.auth.key_store import KeyStore
from deploy.embedded.redis import RedisProcess
from workers.contract.runtime.redis import connect


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisProcess]:
    with RedisProcess(tmp_path_factory.mktemp("redis")) as child:
        yield child


@pytest.fixture(scope="module")
def keys(server: RedisProcess) -> Iterator[KeyStore]:
    with connect(server.url) as redis:
        yield KeyStore(redis)
