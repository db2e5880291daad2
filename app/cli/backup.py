"""`stylize backup` and `stylize restore`: what Redis holds at one moment, and on request the pictures, as one tar file.

pictures/NAME     each blob, where they are asked for
redis.bin         every key with its expiry as Redis dumps it; the last file, so a backup without it is incomplete

Redis is read by one script: jobs, queues, styles and API keys are of the same moment. The pictures are read after it:
all that a job of that moment names are among them, unless the job was deleted meanwhile.
"""

import io
import json
import os
import struct
import sys
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Annotated, Any, NamedTuple

import typer
from redis import Redis

from app.cli.beside import DataDir, named_folder, read_settings
from deploy.embedded.folder_lock import CannotLock, FolderLock, find_running
from deploy.embedded.redis import RedisProcess, RedisUnavailable
from workers.contract.blobs import BlobStore, open_blobs
from workers.contract.blobs.names import INPUTS, JOBS
from workers.contract.errors import BlobError, BlobMissing, StoreUnavailable
from workers.contract.runtime.redis import connect, create_pool, redis_errors
from workers.contract.runtime.redis_snapshot import (
    DumpedKey,
    NotTaken,
    pack,
    parse,
    replace_all,
    snapshot,
)
from workers.contract.runtime.redis_version import read_version
from workers.contract.runtime.settings import Settings

FORMAT = 1
SNAPSHOT_SECONDS = 300.0
PICTURES, KEYS, ABOUT = "pictures/", "redis.bin", "about.json"
CONTENT_TYPES = {".png": "image/png", ".jpeg": "image/jpeg", ".webp": "image/webp", ".json": "application/json"}

File = Annotated[str, typer.Argument(help="the backup; - is standard output, or input", metavar="FILE")]


class CannotBackUp(Exception):
    """No backup can be made or read; the text is one line that says why and what to do."""


class Stores(NamedTuple):
    """The Redis of the jobs, and where their pictures are."""

    redis: Redis
    blobs: BlobStore
    server: str


def back_up(
    file: File,
    pictures: Annotated[bool, typer.Option("--pictures", help="the pictures, too")] = False,
    data_dir: DataDir = None,
) -> None:
    """Write jobs, API keys, saved styles and webhook secrets of one moment into a file; the service goes on.

    Whoever has the file can read all of it: it is made for its owner only.
    """
    with _told("backup"), stores_of(data_dir) as stores:
        keys = snapshot(stores.redis)
        with _target(file) as target, tarfile.open(fileobj=target, mode="w|", format=tarfile.PAX_FORMAT) as tar:
            _add(tar, ABOUT, json.dumps(_about(stores.server, len(keys))).encode())
            count = _add_pictures(tar, stores.blobs) if pictures else 0
            _add(tar, KEYS, pack(keys))
    typer.echo(f"{len(keys)} keys and {count} pictures are in {file}", err=True)


def restore(
    file: File,
    replace: Annotated[bool, typer.Option("--replace", help="delete first what Redis holds")] = False,
    data_dir: DataDir = None,
) -> None:
    """Bring back what `stylize backup` wrote, into an empty Redis; stop gateways, sweeper and workers before.

    Jobs that waited wait again, those that were running run again; pictures of the backup go to the blob store first.
    """
    with _told("restore"), stores_of(data_dir) as stores, _source(file) as source:
        with redis_errors():
            there = int(stores.redis.dbsize())
        if there and not replace:
            raise CannotBackUp(f"Redis is not empty, it holds {there} keys: stop the service; --replace deletes them")
        keys, about, count = _read(source, stores.blobs)
        try:
            replace_all(stores.redis, keys)
        except NotTaken as fault:
            what = f"{stores.server} does not take what {about['server']} wrote, and is empty now: {fault}"
            raise CannotBackUp(what) from fault
    typer.echo(f"{len(keys)} keys and {count} pictures of {about['taken_at']} are back", err=True)


@contextmanager
def stores_of(data_dir: Path | None) -> Iterator[Stores]:
    """Give the stores of the settings, or of a `stylize up`, whose Redis is started while it does not run.

    Raises Misconfigured, StoreUnavailable, RedisUnavailable, CannotLock.
    """
    settings, folder = read_settings(Settings, data_dir), named_folder(data_dir)
    if folder is None or find_running(folder):
        with _connected(settings) as stores:
            yield stores
        return
    folder.mkdir(parents=True, exist_ok=True)
    own = RedisProcess(folder / "redis")
    with FolderLock(folder), own, _connected(settings.model_copy(update={"redis_url": own.url})) as stores:
        yield stores


@contextmanager
def _connected(settings: Settings) -> Iterator[Stores]:
    with connect(settings.redis_url) as client:
        server = str(read_version(client))
    pool = create_pool(settings.redis_url)
    pool.connection_kwargs["socket_timeout"] = SNAPSHOT_SECONDS
    with Redis.from_pool(pool) as redis:
        yield Stores(redis, open_blobs(settings), server)


def _about(server: str, keys: int) -> dict[str, Any]:
    return {"format": FORMAT, "taken_at": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}", "server": server, "keys": keys}


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = len(data), 0o600
    tar.addfile(entry, io.BytesIO(data))


def _add_pictures(tar: tarfile.TarFile, blobs: BlobStore) -> int:
    count = 0
    for prefix in (INPUTS, JOBS):
        for stored in blobs.list(prefix):
            try:
                data = blobs.get(stored.name)
            except BlobMissing:
                continue  # its job was deleted since the snapshot
            _add(tar, f"{PICTURES}{stored.name}", data)
            count += 1
    return count


def _read(source: IO[bytes], blobs: BlobStore) -> tuple[list[DumpedKey], dict[str, Any], int]:
    """Return the keys, what is said of them, and how many pictures were stored. Raises CannotBackUp, BlobError."""
    about: dict[str, Any] = {}
    keys: list[DumpedKey] | None = None
    count = 0
    try:
        with tarfile.open(fileobj=source, mode="r|") as tar:
            for entry in tar:
                data = _content(tar, entry)
                if entry.name == ABOUT:
                    about = _checked(data)
                elif entry.name == KEYS:
                    keys = list(parse(data))
                elif entry.name.startswith(PICTURES):
                    name = entry.name.removeprefix(PICTURES)
                    blobs.put(name, data, content_type=CONTENT_TYPES.get(Path(name).suffix, "application/octet-stream"))
                    count += 1
    except (tarfile.TarError, struct.error, EOFError) as fault:
        raise CannotBackUp(f"this is no whole backup: {fault}") from fault
    if keys is None or len(keys) != about.get("keys"):
        raise CannotBackUp("this is no whole backup: it ends too early")
    return keys, about, count


def _content(tar: tarfile.TarFile, entry: tarfile.TarInfo) -> bytes:
    file = tar.extractfile(entry)
    data = file.read() if file else b""
    if len(data) != entry.size:
        raise EOFError(f"{entry.name} ends too early")
    return data


def _checked(data: bytes) -> dict[str, Any]:
    try:
        about: dict[str, Any] = json.loads(data)
        version = int(about["format"])
    except (ValueError, TypeError, KeyError) as fault:
        raise CannotBackUp(f"this is no backup: {ABOUT} cannot be read") from fault
    if version > FORMAT:
        raise CannotBackUp(f"a later release wrote this backup (format {version}): restore it with that release")
    return about


@contextmanager
def _target(file: str) -> Iterator[IO[bytes]]:
    """Give a file that takes its place when it is whole, and that only its owner reads."""
    if file == "-":
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    part = Path(f"{file}.partial")
    handle = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(handle, "wb") as target:
            yield target
            target.flush()
            os.fsync(target.fileno())
        part.replace(file)
    finally:
        part.unlink(missing_ok=True)


@contextmanager
def _source(file: str) -> Iterator[IO[bytes]]:
    if file == "-":
        yield sys.stdin.buffer
        return
    with Path(file).open("rb") as source:
        yield source


@contextmanager
def _told(what: str) -> Iterator[None]:
    """Say in one line what went wrong, and end with 1. Raises typer.Exit."""
    try:
        yield
    except (CannotBackUp, CannotLock, RedisUnavailable, OSError) as fault:
        typer.echo(f"stylize {what}: {fault}", err=True)
        raise typer.Exit(1) from fault
    except (StoreUnavailable, BlobError) as fault:
        typer.echo(f"{fault.code}: {fault}", err=True)
        raise typer.Exit(1) from fault
