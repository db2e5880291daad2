"""A Redis that runs one long script answers nobody else; that is no fault of ours, and passes."""

import threading
from contextlib import suppress
from pathlib import Path

from redis.exceptions import RedisError

from deploy.embedded.redis import RedisProcess
from tests.support.service import until
from workers.contract.errors import StoreUnavailable
from workers.contract.runtime.redis import connect, redis_errors

LONG = "while redis.call('GET', KEYS[1]) == false do end"


def test_a_busy_redis_is_unavailable(tmp_path: Path) -> None:
    with RedisProcess(tmp_path, "--busy-reply-threshold", "1") as redis, connect(redis.url) as client:

        def run() -> None:
            with connect(redis.url) as other, suppress(RedisError):
                other.eval(LONG, 1, "never")

        running = threading.Thread(target=run)
        running.start()

        def busy() -> bool:
            try:
                with redis_errors():
                    client.get("other")
            except StoreUnavailable as fault:
                return "BUSY" in str(fault)
            return False

        until(busy, "Redis is busy")
        client.script_kill()
        running.join()
        with redis_errors():
            assert client.get("other") is None
