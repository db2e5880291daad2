"""What the commands know of a `stylize up`: they read its note, and need to be told nothing while it runs in ./data."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer
from redis import Redis

from deploy.embedded.environment import DEFAULT_MODEL
from deploy.embedded.folder_lock import CannotLock, FolderLock, Holder, find_running, unix_url
from deploy.embedded.redis import RedisProcess, RedisUnavailable
from workers.contract.errors import Misconfigured
from workers.contract.runtime.command_line import command_line
from workers.contract.runtime.redis import connect
from workers.contract.runtime.settings import Settings

DEFAULT = Path("data")
ELSEWHERE = {"redis_url", "blob_url"}
"""Settings that tell of a service other than the `stylize up` in ./data."""
DataDir = Annotated[
    Path | None,
    typer.Option(help="folder of a `stylize up` (default: STYLIZE_DATA_DIR, else ./data)", show_default=False),
]
Kind = TypeVar("Kind", bound=Settings)


def find_stack(data_dir: Path | None) -> Holder | None:
    """Return the stack that runs in the named folder, or in ./data where the settings tell of no other service."""
    if folder := named_folder(data_dir):
        return find_running(folder)
    return None if ELSEWHERE & Settings.read().model_fields_set else find_running(DEFAULT)


def named_folder(data_dir: Path | None) -> Path | None:
    """Return the folder that an option or STYLIZE_DATA_DIR names, unless the settings tell of another service."""
    settings = Settings.read()
    return data_dir or (None if ELSEWHERE & settings.model_fields_set else settings.data_dir)


def read_settings(kind: type[Kind], data_dir: Path | None) -> Kind:
    """Return the settings, with what the note of a running stack says, or with what a named folder would give one.

    What the environment sets stays, unless an option names the folder of a running stack. Raises Misconfigured.
    """
    settings = kind.read()
    folder, running = named_folder(data_dir), find_stack(data_dir)
    told = _told_by(running) if running else _given_in(folder.absolute()) if folder else {}
    kept = set() if running and data_dir else settings.model_fields_set - ELSEWHERE
    return settings.model_copy(update={name: value for name, value in told.items() if name not in kept})


def _told_by(running: Holder) -> dict[str, Any]:
    return {
        "redis_url": running.redis_url,
        "blob_url": running.blob_url,
        "model_dir": Path(running.model_dir),
        "models": tuple(filter(None, (model.strip() for model in running.models.split(",")))),
    }


def _given_in(folder: Path) -> dict[str, Any]:
    return {
        "redis_url": unix_url(folder / "redis" / "redis.sock"),
        "blob_url": f"file:{folder / 'blobs'}",
        "model_dir": folder / "models",
        "models": (DEFAULT_MODEL,),
    }


@contextmanager
def open_redis(data_dir: Path | None) -> Iterator[Redis]:
    """Give the Redis of the jobs; that of a stack that does not run is started for as long as it is needed.

    Tells in one line what cannot be, and ends with 1. Raises typer.Exit, Misconfigured.
    """
    folder = named_folder(data_dir)
    if folder is None or find_running(folder):
        with connect(read_settings(Settings, data_dir).redis_url) as redis:
            yield redis
        return
    if not (folder / "redis").is_dir():
        raise Misconfigured(f"no `stylize up` has run in {folder}; start one: {command_line('up', data_dir=folder)}")
    try:
        with FolderLock(folder), RedisProcess(folder / "redis") as child, connect(child.url) as redis:
            yield redis
    except (CannotLock, RedisUnavailable) as fault:
        typer.echo(f"stylize: {fault}", err=True)
        raise typer.Exit(1) from fault
