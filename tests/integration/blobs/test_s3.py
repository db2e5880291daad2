"""What only an S3 does: it races, loses answers, is silent, has no conditional writes or no bucket."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import boto3
import pytest
from botocore.config import Config

from tests.integration.blobs.test_blobs import SHA, put
from tests.support.service import PATIENCE
from workers.contract.blobs import input_name, open_blobs
from workers.contract.blobs.s3 import S3Blobs
from workers.contract.errors import BlobExists, BlobStoreUnavailable, Misconfigured
from workers.contract.runtime.settings import Settings


def test_a_missing_bucket_is_misconfigured(s3_server: str, s3_settings: Settings) -> None:
    wrong = s3_settings.model_copy(update={"blob_url": "s3://no-such-bucket"})
    with pytest.raises(Misconfigured, match="there is no such bucket"):
        open_blobs(wrong).probe()


def s3_through(endpoint: str, settings: Settings, *, seconds: float = PATIENCE) -> S3Blobs:
    """Return a store that asks once, and gives up after so many seconds without an answer."""
    config = Config(connect_timeout=PATIENCE, read_timeout=seconds, retries={"total_max_attempts": 1}, proxies={})
    client: Any = boto3.client("s3", endpoint_url=endpoint, region_name="us-east-1", config=config)
    return S3Blobs(client, settings.blob_url.split("/")[2])


class OneAnswerLost(threading.Thread):
    """A TCP relay to the S3 server that swallows the answer to the first request, as a lost connection does."""

    def __init__(self, target: str) -> None:
        super().__init__(daemon=True)
        host, port = target.removeprefix("http://").split(":")
        self._target = (host, int(port))
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"

    def run(self) -> None:
        client, _ = self._socket.accept()
        with client, socket.create_connection(self._target) as server:
            threading.Thread(target=_pipe, args=(client, server), daemon=True).start()
            while (answer := server.recv(65536)).startswith(b"HTTP/1.1 100"):
                client.sendall(answer)
            client.shutdown(socket.SHUT_RDWR)
        client, _ = self._socket.accept()
        with client, socket.create_connection(self._target) as server:
            threading.Thread(target=_pipe, args=(client, server), daemon=True).start()
            _pipe(server, client)
        self._socket.close()


def _pipe(source: socket.socket, sink: socket.socket) -> None:
    try:
        while data := source.recv(65536):
            sink.sendall(data)
    except OSError:
        return


def test_a_put_whose_answer_is_lost_is_looked_up(s3_server: str, s3_settings: Settings) -> None:
    relay = OneAnswerLost(s3_server)
    relay.start()
    put(s3_through(relay.url, s3_settings), input_name(SHA), b"small")
    assert s3_through(s3_server, s3_settings).get(input_name(SHA)) == b"small"


@contextmanager
def racing_s3(races: int) -> Iterator[tuple[str, list[str]]]:
    """An S3 that says of the first puts that another one of the name is under way; and the conditions of all puts."""
    asked: list[str] = []

    class Racing(BaseHTTPRequestHandler):
        def do_PUT(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            asked.append(self.headers["If-None-Match"])
            raced = len(asked) <= races
            body = b"<Error><Code>ConditionalRequestConflict</Code></Error>" if raced else b""
            self.send_response(409 if raced else 200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    with ThreadingHTTPServer(("127.0.0.1", 0), Racing) as server:
        threading.Thread(target=server.serve_forever).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", asked
        finally:
            server.shutdown()


def test_a_put_that_races_with_another_is_asked_again(s3_settings: Settings) -> None:
    with racing_s3(races=2) as (url, asked):
        put(s3_through(url, s3_settings), input_name(SHA), b"small")
    assert asked == ["*"] * 3


def test_a_put_that_always_races_is_unavailable(s3_settings: Settings) -> None:
    with racing_s3(races=100) as (url, _), pytest.raises(BlobStoreUnavailable, match="being written by others"):
        put(s3_through(url, s3_settings), input_name(SHA), b"small")


def test_a_silent_s3_is_unavailable_within_bounds(s3_settings: Settings) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        blobs = s3_through(f"http://127.0.0.1:{silent.getsockname()[1]}", s3_settings, seconds=0.5)
        with pytest.raises(BlobStoreUnavailable, match="does not answer"):
            put(blobs, input_name(SHA))


def test_without_conditional_writes_a_put_looks_first(s3_server: str, s3_settings: Settings) -> None:
    blobs = s3_through(s3_server, s3_settings)

    def forget_condition(params: dict[str, Any], **_: object) -> None:
        params["headers"].pop("If-None-Match", None)

    blobs._client.meta.events.register("before-call.s3.PutObject", forget_condition)
    blobs.probe()
    put(blobs, input_name(SHA))
    put(blobs, input_name(SHA))
    with pytest.raises(BlobExists):
        put(blobs, input_name(SHA), b"other bytes")
