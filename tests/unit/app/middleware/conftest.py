"""A gateway as an operator sets it up behind a proxy, for pages of another site."""

from collections.abc import Iterator

import pytest

from deploy.embedded.redis import RedisProcess
from tests.support.gateway import Gateway
from tests.support.service import free_port

PAGE = "https://app.example.com"
PUBLIC = "https://pics.example.com/stylize"
"""A path that is also one of ours."""


@pytest.fixture(scope="session")
def proxied(tmp_path_factory: pytest.TempPathFactory, gateway_redis: RedisProcess) -> Iterator[Gateway]:
    environ = {
        "STYLIZE_GATEWAY_PUBLIC_URL": PUBLIC,
        "STYLIZE_GATEWAY_CORS_ORIGINS": f"{PAGE}:443, http://localhost:5173",
        "STYLIZE_GATEWAY_METRICS_PORT": str(free_port()),
    }
    with Gateway(tmp_path_factory.mktemp("proxied"), gateway_redis, environ) as running:
        yield running
