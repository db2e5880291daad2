"""One POST to a checked target: connects to the address that was checked, follows nothing, waits and reads little."""

import asyncio
import ssl
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any

import httpcore2

from app.urls import TargetRefused
from app.webhooks.errors import NotDelivered
from app.webhooks.url_policy import UrlPolicy, WebhookTarget

SECONDS = 5.0
MAX_BYTES = 65_536

Resolve = Callable[[str, int, str], Awaitable[Sequence[str]]]
"""Looks a host and port up for an owner."""


class WebhookTransport:
    """Posts to targets within the rules."""

    def __init__(self, rules: UrlPolicy, *, tls: ssl.SSLContext, find: Resolve, seconds: float = SECONDS) -> None:
        self._rules = rules
        self._tls = tls
        self._find = find
        self._seconds = seconds

    async def post(self, url: str, headers: Mapping[str, str], body: bytes, owner: str) -> int:
        """Return the status of the answer to an owner's call. Raises TargetRefused, NotDelivered, NotTried."""
        target = self._rules.target(url)
        backend = PinnedBackend(target, self._rules, lambda host, port: self._find(host, port, owner))
        try:
            async with (
                asyncio.timeout(self._seconds),
                httpcore2.AsyncConnectionPool(
                    ssl_context=self._tls, network_backend=backend, max_connections=1
                ) as pool,
                pool.stream("POST", target.url, headers=list(headers.items()), content=body) as answer,
            ):
                await _drain(answer)
                return answer.status
        except TimeoutError as fault:
            raise NotDelivered(f"no answer within {self._seconds:g} s", silent=True) from fault
        except httpcore2.ConnectError as fault:
            raise NotDelivered("no connection") from fault
        except (httpcore2.NetworkError, httpcore2.ProtocolError, httpcore2.TimeoutException, OSError) as fault:
            raise NotDelivered("the connection broke") from fault


async def _drain(answer: httpcore2.Response) -> None:
    """Read a little of the answer's body and forget it, so that the other side can end in peace."""
    size = 0
    async for chunk in answer.aiter_stream():
        size += len(chunk)
        if size >= MAX_BYTES:
            return


class PinnedBackend(httpcore2.AsyncNetworkBackend):
    """Looks the host up once, checks all its addresses and connects to one of these, whatever the name says later."""

    def __init__(
        self, target: WebhookTarget, rules: UrlPolicy, find: Callable[[str, int], Awaitable[Sequence[str]]]
    ) -> None:
        self._target = target
        self._rules = rules
        self._find = find
        self._network = httpcore2.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109  the library's signature
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        """Connect to the target. Raises TargetRefused, NotDelivered, NotTried, httpcore2.ConnectError."""
        if (host, port) != (self._target.host, self._target.port):
            raise TargetRefused("another host than the one that was checked")
        addresses = await self._find(host, port)
        self._rules.check(self._target, addresses)
        for address in addresses[:-1]:
            try:
                return await self._network.connect_tcp(address, port, timeout, local_address, socket_options)
            except httpcore2.ConnectError:
                continue
        return await self._network.connect_tcp(addresses[-1], port, timeout, local_address, socket_options)

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        await self._network.sleep(seconds)
