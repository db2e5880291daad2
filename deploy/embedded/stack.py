"""The whole service on one machine: Redis, gateway, sweeper and workers as our own children, ended together.

The same programs run in production; only addresses differ.
"""

import errno
import os
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from types import FrameType

from app.observability.metrics import own_version
from app.settings import GatewaySettings
from deploy.embedded.environment import (
    METRICS_PORT,
    MODEL_DIR,
    MODELS,
    RETENTION,
    build_environment,
    check_environment,
)
from deploy.embedded.folder_lock import CannotLock, FolderLock, Holder
from deploy.embedded.processes import ChildProcess
from deploy.embedded.readiness import ReadyLine, local_url
from deploy.embedded.redis import RedisProcess, RedisUnavailable
from workers.contract.errors import Misconfigured, StoreUnavailable
from workers.contract.runtime.command_line import PROGRAM, program
from workers.contract.runtime.redis import connect
from workers.contract.runtime.redis_version import read_version
from workers.settings import WorkerSettings
from workers.sweeper import SweeperSettings

GRACE_SECONDS = 10.0
MISCONFIGURED = 2
"""Exit status of a process whose settings or servers are not as they must be."""
WORKER_GRACE_SECONDS = "3"
HEAP = {"MALLOC_TRIM_THRESHOLD_": str(16 * 2**20), "MALLOC_MMAP_THRESHOLD_": str(2 * 2**20)}
"""glibc keeps freed memory for the next upload: buffers of up to 256 KB would cost a page fault per 4 KB each time."""


class CannotStart(Exception):
    """The stack cannot start; the text is one line that says why and what to do."""


def up(host: str, port: int, data_dir: Path, workers: int) -> int:
    """Run the stack until SIGINT or SIGTERM. Returns the exit status: 0, or 1 after a one-line error."""
    try:
        check_environment(os.environ)
        data = claim_folder(data_dir)
        with FolderLock(data) as lock:
            claim_port(host, port)
            redis = RedisProcess(data / "redis")
            environ = build_environment(data, redis.url, os.environ)
            check_settings(environ)
            holder = describe(environ, host, port)
            lock.write(holder)
            with redis:
                report_server(redis)
                report_folder(data, environ[RETENTION])
                run(children(host, port, environ, workers), redis, ReadyLine(holder.url, holder.models))
    except (CannotStart, CannotLock, RedisUnavailable, Misconfigured) as fault:
        print(f"stylize: {fault}", file=sys.stderr)
        return 1
    return 0


def describe(environ: Mapping[str, str], host: str, port: int) -> Holder:
    """Return what commands beside the stack need to know of it."""
    return Holder(
        pid=os.getpid(),
        port=port,
        url=local_url(host, port),
        redis_url=environ["STYLIZE_REDIS_URL"],
        blob_url=environ["STYLIZE_BLOB_URL"],
        model_dir=str(Path(environ[MODEL_DIR]).resolve()),
        models=environ[MODELS],
        version=own_version(),
    )


def check_settings(environ: Mapping[str, str]) -> None:
    """Read the settings of every process before one is started. Raises Misconfigured."""
    os.environ.update(environ)  # each process inherits it
    for settings in (GatewaySettings, WorkerSettings, SweeperSettings):
        settings.read()


def report_folder(data: Path, hours: str) -> None:
    """Print what is kept where, and how to call the command that looks after it where PATH does not find it."""
    print(f"stylize: keeps jobs and pictures for {hours} hours in {data} ({RETENTION})", flush=True)
    if (call := program()) != PROGRAM:
        print(f"stylize: `{PROGRAM}` is not on PATH here: call {call}, or run make install", flush=True)


def report_server(redis: RedisProcess) -> None:
    """Print which server was started, and on standard error that it is to be updated. Raises CannotStart."""
    try:
        with connect(redis.url) as client:
            server = read_version(client)
    except StoreUnavailable as fault:
        raise CannotStart(str(fault)) from fault
    print(f"stylize: started {server} ({server.program})", flush=True)
    if not server.patched:
        print(f"stylize: warning: {server} has known holes in its scripting: {server.advice}", file=sys.stderr)


def claim_port(host: str, port: int) -> None:
    """Raise CannotStart when nobody can listen on the port."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as fault:
            hint = "; choose another with --port" if fault.errno == errno.EADDRINUSE else ""
            raise CannotStart(f"cannot listen on {host}:{port}: {fault.strerror}{hint}") from fault


def claim_folder(folder: Path) -> Path:
    """Return the absolute data folder, created. Raises CannotStart when nothing can be written there."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return folder.resolve()
    except OSError as fault:
        raise CannotStart(f"cannot write to {folder}: {fault.strerror}; choose another with --data-dir") from fault


def children(host: str, port: int, environ: Mapping[str, str], workers: int) -> tuple[ChildProcess, ...]:
    """Return the processes of the stack, in the order in which they start; `environ` is what they share."""
    gateway = {**environ, **HEAP, "STYLIZE_GATEWAY_HOST": host, "STYLIZE_GATEWAY_PORT": str(port)}
    worker = {**environ, "STYLIZE_WORKER_GRACE_SECONDS": WORKER_GRACE_SECONDS, "TRANSFORMERS_VERBOSITY": "error"}
    return (
        *(ChildProcess(f"worker {n}", python("workers"), worker | numbered(n)) for n in range(1, workers + 1)),
        ChildProcess("sweeper", python("workers.sweeper"), environ),
        ChildProcess("gateway", python("app"), gateway),
    )


def numbered(n: int) -> dict[str, str]:
    """Return what is the n-th worker's own: its name, and its port for metrics behind those of the workers before."""
    first = os.environ.get(METRICS_PORT) or "0"
    port = str(int(first) + n - 1) if first.isdecimal() and int(first) else first
    return {"STYLIZE_WORKER_ID": f"worker-{n}", METRICS_PORT: port}


def python(module: str) -> tuple[str, ...]:
    """Return the command that runs a module in this interpreter."""
    return (sys.executable, "-m", module)


def run(stack: tuple[ChildProcess, ...], redis: RedisProcess, ready: ReadyLine) -> None:
    """Keep the children running until a signal comes, then end them all."""
    stopping: list[int] = []

    def stop(signum: int, _: FrameType | None) -> None:
        stopping.append(signum)

    for signum in (signal.SIGINT, signal.SIGTERM):
        signal.signal(signum, stop)
    print(f"stylize: starting on {ready.url} (Ctrl-C ends everything)", flush=True)
    try:
        while not stopping:
            if redis.revive():
                print("stylize: Redis ended: restarted with its data", file=sys.stderr)
            for child in stack:
                status = child.tend()
                if status == MISCONFIGURED:
                    raise CannotStart(f"the {child.name} refuses to start as configured")
                if status is not None:
                    print(f"stylize: the {child.name} ended with status {status}: restarting", file=sys.stderr)
            ready.look()
            time.sleep(0.1)
    finally:
        end(stack)


def end(stack: tuple[ChildProcess, ...]) -> None:
    """End all children: SIGTERM to each, SIGKILL to those that outlast the grace."""
    for child in stack:
        child.ask_to_end()
    deadline = time.monotonic() + GRACE_SECONDS
    for child in stack:
        child.await_end(deadline)
