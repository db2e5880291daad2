"""One Redis and one gateway process for all tests of a test process."""

from collections.abc import Iterator

import pytest

from deploy.embedded.redis import RedisProcess
from tests.support.gateway import Gateway


@pytest.fixture(scope="session")
def gateway_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisProcess]:
    with RedisProcess(tmp_path_factory.mktemp("redis")) as child:
        yield child


@pytest.fixture(scope="session")
def gateway(tmp_path_factory: pytest.TempPathFactory, gateway_redis: RedisProcess) -> Iterator[Gateway]:
    with Gateway(tmp_path_factory.mktemp("gateway"), gateway_redis) as running:
        yield running
