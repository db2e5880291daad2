"""The connection to Redis: bounded in time, every fault a StoreUnavailable, the server's set-up verified."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from redis import ConnectionPool, Redis, UnixDomainSocketConnection
from redis.backoff import ConstantBackoff
from redis.exceptions import ConnectionError as ConnectionFault
from redis.exceptions import OutOfMemoryError, RedisError, ResponseError
from redis.retry import Retry

from workers.contract.errors import Misconfigured, StoreUnavailable
from workers.contract.runtime.redis_url import REDIS_URL, parse_redis_url

ANSWER_SECONDS = 5.0
CONNECT_SECONDS = 2.0


def connect(url: str, variable: str = REDIS_URL) -> Redis:
    """Return a client for redis://, rediss:// or unix://; it connects at the first command.

    A command waits at most ANSWER_SECONDS and is repeated once when the connection breaks. Raises Misconfigured.
    """
    return Redis.from_pool(create_pool(url, variable, decode_responses=True))


def create_pool(url: str, variable: str = REDIS_URL, *, decode_responses: bool = False) -> ConnectionPool:
    """Return the connections of a client, bounded in time. Raises Misconfigured naming the variable."""
    options = parse_redis_url(url, variable)
    if options.get("connection_class") is not UnixDomainSocketConnection:
        # A unix socket connects at once or not at all, and its connection class knows no time for it.
        options["socket_connect_timeout"] = CONNECT_SECONDS
    return ConnectionPool(
        socket_timeout=ANSWER_SECONDS,
        retry=Retry(ConstantBackoff(0.05), 1, supported_errors=(ConnectionFault,)),
        decode_responses=decode_responses,
        **options,
    )


@contextmanager
def redis_errors() -> Iterator[None]:
    """Run commands. Raises StoreUnavailable when Redis does not answer, is full, busy or read-only, or cannot write.

    Raises Misconfigured when it has no database of that number. A ResponseError that says something else is a fault in
    our own scripts and passes through.
    """
    try:
        yield
    except ResponseError as fault:
        if "DB index is out of range" in str(fault):
            raise Misconfigured(f"{REDIS_URL}: Redis says: {fault}") from fault
        if not is_server_refusal(fault):
            raise
        raise StoreUnavailable(f"Redis refuses: {fault}") from fault
    except RedisError as fault:
        raise StoreUnavailable(f"Redis does not answer: {fault}") from fault


def is_server_refusal(fault: ResponseError) -> bool:
    """Return True when the server, not the script, is why a command was refused.

    Redis 6 wraps the server's own words in the script's error; later versions have an error code for each reason.
    """
    words = ("OOM ", "READONLY", "MISCONF", "NOREPLICAS", "MASTERDOWN", "BUSY ")
    return type(fault) is not ResponseError or any(word in str(fault) for word in words)


def is_out_of_memory(fault: BaseException | None) -> bool:
    """Return True when the write was refused because Redis has reached its memory limit."""
    return isinstance(fault, OutOfMemoryError) or (isinstance(fault, ResponseError) and "OOM " in str(fault))


def verify_server(redis: Redis) -> None:
    """Check that Redis evicts nothing and writes every change to disk before it answers.

    Raises Misconfigured naming what to change, StoreUnavailable.
    """
    with redis_errors():
        memory: dict[str, Any] = redis.info("memory")
        persistence: dict[str, Any] = redis.info("persistence")
        fsync = _appendfsync(redis)
    wrong = [
        advice
        for advice, right in (
            ("maxmemory-policy noeviction", memory.get("maxmemory_policy") == "noeviction"),
            ("appendonly yes", int(persistence.get("aof_enabled", 0)) == 1),
            ("appendfsync always", fsync in ("always", None)),
        )
        if not right
    ]
    if wrong:
        raise Misconfigured(
            f"Redis may lose jobs: set {', '.join(wrong)} (CONFIG SET, and in its configuration file); "
            "STYLIZE_REDIS_ALLOW_VOLATILE=true accepts it as it is"
        )


def _appendfsync(redis: Redis) -> str | None:
    """Return the policy, or None where the server does not let us ask."""
    try:
        found = dict(redis.config_get("appendfsync"))
    except ResponseError:
        return None
    return found.get("appendfsync")
