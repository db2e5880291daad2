"""`stylize doctor`: looks at everything a host needs, and says for each fault what to do.

A check is a function of what it looks at that returns findings; it raises nothing.
"""

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from app.observability.metrics import own_version
from deploy.embedded.folder_lock import Holder
from model_store.catalogue import base_of
from model_store.errors import ModelStoreError
from model_store.store.presence import command_for, presence
from workers.contract.blobs import blob_folder, open_blobs
from workers.contract.blobs.disk import PARTS
from workers.contract.errors import BlobError, Misconfigured, StoreUnavailable
from workers.contract.jobs.store import JobStore
from workers.contract.runtime.command_line import command_line
from workers.contract.runtime.settings import Settings
from workers.settings import WorkerSettings

GIGABYTE = 10**9
LEAST_FREE = 5 * GIGABYTE
MEMORY_SHARE = 0.8
CLOCK_SECONDS = 2.0
DRIVER_SECONDS = 10.0
WRITABLE = "make the folder writable for this user, or correct STYLIZE_BLOB_URL"


@dataclass(frozen=True)
class Check:
    """What one look found; `advice` is what to do, empty when nothing needs to be done."""

    about: str
    level: Literal["ok", "warning", "fault"]
    text: str
    advice: str = ""


def examine(settings: WorkerSettings, store: JobStore) -> Iterator[Check]:
    """Look at everything in turn."""
    yield from redis(store)
    yield from redis_version(store)
    yield from workers(store, settings)
    yield from blobs(settings)
    yield from disks(settings)
    yield from models(settings)
    yield from gpu(settings.worker_device)


def stack(running: Holder | None, folder: Path | None) -> Iterator[Check]:
    """Does a `stylize up` run in the folder, and is it of this release?"""
    if running is None:
        if folder:
            start = f"start it: {command_line('up', data_dir=folder)}"
            yield Check("stack", "fault", f"no stylize up runs in {folder}", start)
        return
    text = f"stylize {running.version} runs at {running.url}, pid {running.pid}"
    if running.version == own_version():
        yield Check("stack", "ok", text)
    else:
        yield Check("stack", "warning", f"{text}, but this is {own_version()}", "end it with Ctrl-C, start it again")


def redis(store: JobStore) -> Iterator[Check]:
    """Is Redis there, safe, and not full; does its clock agree with this host's?"""
    try:
        before = time.time()
        remote = store.now().timestamp()
        after = time.time()
        memory = store.memory()
        store.verify()
    except StoreUnavailable as fault:
        yield Check("redis", "fault", str(fault), "start Redis or stylize up, or correct STYLIZE_REDIS_URL")
        return
    except Misconfigured as fault:
        yield Check("redis", "fault", str(fault), "change the configuration of Redis as said, and restart it")
        return
    yield Check("redis", "ok", "answers, evicts nothing and writes before it answers")
    if memory.limit and memory.used > memory.limit * MEMORY_SHARE:
        full = f"{memory.used / memory.limit:.0%} of its memory is used"
        yield Check("redis memory", "fault", full, "raise maxmemory, or lower STYLIZE_RETENTION_HOURS")
    off = max(before - remote, remote - after, 0.0)
    if off > CLOCK_SECONDS:
        far = f"this host's clock and that of Redis are {off:.0f} s apart"
        yield Check("clock", "fault", far, "synchronise both with NTP: timedatectl set-ntp true")
    else:
        yield Check("clock", "ok", "agrees with that of Redis")


def redis_version(store: JobStore) -> Iterator[Check]:
    """Which server is it, and is its scripting safe?"""
    try:
        server = store.server()
    except StoreUnavailable:
        return  # said before
    if server.patched:
        yield Check("redis version", "ok", str(server))
    else:
        yield Check("redis version", "warning", f"{server} has known holes in its scripting", server.advice)


def workers(store: JobStore, settings: Settings) -> Iterator[Check]:
    """Does a worker serve each model?"""
    try:
        known = store.workers()
    except StoreUnavailable:
        return  # said before
    if not known:
        yield Check("workers", "warning", "none is running", "start one: python -m workers, or stylize up")
        return
    warm = {model for worker in known for model in worker.models}
    if cold := [model for model in settings.models if model not in warm]:
        advice = "wait until it is loaded, or name it in the STYLIZE_MODELS of a worker"
        yield Check("workers", "warning", f"none has {', '.join(cold)} warm", advice)
    else:
        yield Check("workers", "ok", f"{len(known)} running")


def blobs(settings: Settings) -> Iterator[Check]:
    """Can pictures be written and read back? A folder that is not there is not made for it."""
    folder = blob_folder(settings)
    if folder and not os.path.exists(folder):
        above = existing(folder)
        if above.is_dir() and os.access(above, os.W_OK | os.X_OK):
            yield Check("blobs", "ok", f"{folder} will be made by the first process that needs it")
        else:
            yield Check("blobs", "fault", f"{folder} cannot be made in {above}", WRITABLE)
        return
    try:
        with _leaving_no_folder(folder and folder / PARTS):
            open_blobs(settings).probe()
    except (BlobError, Misconfigured) as fault:
        advice = (
            "correct STYLIZE_BLOB_URL, STYLIZE_S3_ENDPOINT_URL, "
            "the AWS keys; make the bucket: python -m deploy.compose.make_bucket"
            if settings.blob_url.startswith("s3:")
            else WRITABLE
        )
        yield Check("blobs", "fault", str(fault), advice)
    else:
        yield Check("blobs", "ok", f"{settings.blob_url} takes and gives")


@contextmanager
def _leaving_no_folder(folder: Path | None) -> Iterator[None]:
    """Remove a folder at the end that was not there before, unless somebody has begun to use it."""
    before = folder is None or folder.exists()
    yield
    if folder and not before:
        with suppress(OSError):
            folder.rmdir()


def disks(settings: Settings, usage: Callable[[Path], tuple[int, int, int]] = shutil.disk_usage) -> Iterator[Check]:
    """Is there room for pictures and weights?"""
    folders = {"weights": settings.model_dir}
    if pictures := blob_folder(settings):
        folders["pictures"] = pictures
    for what, folder in folders.items():
        _, _, free = usage(existing(folder))
        text = f"{free / GIGABYTE:.0f} GB free for {what} in {folder}"
        if free < LEAST_FREE:
            advice = "free some room: stylize models gc, a shorter STYLIZE_RETENTION_HOURS, or a larger disk"
            yield Check("disk", "fault", text, advice)
        else:
            yield Check("disk", "ok", text)


def existing(path: Path) -> Path:
    """Return the nearest there is of a path: itself or a folder above it."""
    return next(there for there in (path.absolute(), *path.absolute().parents) if os.path.exists(there))


def models(settings: Settings) -> Iterator[Check]:
    """Are the base models known and their weights installed?"""
    if not settings.models:
        known = "name at least one, such as sd15; stylize models list shows all"
        yield Check("models", "fault", "STYLIZE_MODELS names no base model", known)
    for model in settings.models:
        try:
            base_of(model, settings.model_dir)
            found = presence(model, settings.model_dir)
        except (ModelStoreError, KeyError) as fault:
            yield Check("models", "fault", str(fault), "correct STYLIZE_MODELS; stylize models list shows all")
            continue
        if found.state == "installed":
            yield Check("models", "ok", f"{model} is installed")
        else:
            yield Check("models", "fault", f"{model} is {found.state}", command_for(found, settings.model_dir))


class NoDriver(Exception):
    """The driver shows no GPU; the text says why."""

    def __init__(self, text: str, advice: str) -> None:
        super().__init__(text)
        self.advice = advice


def gpu(device: str, program: str = "nvidia-smi") -> Iterator[Check]:
    """Is there the GPU that the settings ask for, and does its driver answer?"""
    if device == "cpu":
        yield Check("gpu", "ok", "not wanted: STYLIZE_WORKER_DEVICE is cpu")
        return
    try:
        cards = _cards(program)
    except NoDriver as fault:
        level: Literal["fault", "warning"] = "fault" if device.startswith("cuda") else "warning"
        yield Check("gpu", level, f"{fault}: without a GPU work is done on the CPU", fault.advice)
        return
    if int(device.partition(":")[2] or 0) >= len(cards):
        text = f"STYLIZE_WORKER_DEVICE is {device}, but there is no more than cuda:{len(cards) - 1}"
        yield Check("gpu", "fault", text, "correct STYLIZE_WORKER_DEVICE, or give the container that GPU")
        return
    for card in cards:
        yield Check("gpu", "ok", card)


def _cards(program: str) -> list[str]:
    """Return name, driver and free memory of each GPU. Raises NoDriver."""
    query = [program, "--query-gpu=name,driver_version,memory.free", "--format=csv,noheader"]
    try:
        done = subprocess.run(query, capture_output=True, text=True, timeout=DRIVER_SECONDS, check=False)
    except OSError:
        install = "install NVIDIA's driver; for a container, its container toolkit too"
        raise NoDriver(f"{program} is not there", install) from None
    except subprocess.TimeoutExpired:
        raise NoDriver("the driver does not answer", "restart the host; look for Xid in dmesg") from None
    cards = [line.strip() for line in done.stdout.splitlines() if line.strip()]
    if done.returncode or not cards:
        said = " ".join((done.stdout + done.stderr).split()) or "the driver shows no GPU"
        raise NoDriver(said, "load the driver that fits the kernel: nvidia-smi must list the GPUs")
    return cards
