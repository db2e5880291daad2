"""The yardstick: an ASGI application that reads a body and answers, on the gateway's own uvicorn settings."""

import logging
from collections.abc import Awaitable, Callable

import uvicorn
from starlette.types import Receive, Scope, Send

from app.__main__ import listen
from app.server.uvicorn import build_config
from app.settings import GatewaySettings

ANSWER = b'{"accepted": true}'
HEADERS = [(b"content-type", b"application/json"), (b"content-length", str(len(ANSWER)).encode())]


async def read_all(scope: Scope, receive: Receive) -> None:
    while (await receive()).get("more_body", False):
        pass


def serve(take_in: Callable[[Scope, Receive], Awaitable[None]]) -> None:
    """Serve an application that takes a body in and then answers."""

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await receive()
            await send({"type": "lifespan.startup.complete"})
            await receive()
            return await send({"type": "lifespan.shutdown.complete"})
        await take_in(scope, receive)
        await send({"type": "http.response.start", "status": 202, "headers": HEADERS})
        await send({"type": "http.response.body", "body": ANSWER})

    logging.basicConfig(level=logging.WARNING)
    settings = GatewaySettings.read()
    with listen(settings.gateway_host, settings.gateway_port) as listener:
        uvicorn.Server(build_config(application, settings)).run(sockets=[listener])


if __name__ == "__main__":
    serve(read_all)
