"""Debian's builder that needs no daemon: builds an image, mounts it and runs commands in it, in chroot isolation."""

import json
import os
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.faults.harness.memory import first_child

ROOT = Path(__file__).parents[2]
BUILD_SECONDS = 3600
CHROOT = ("--isolation", "chroot")


def buildah(*arguments: str) -> str:
    """Run the builder; return what it prints. Ends the program when it fails."""
    done = subprocess.run(
        ["buildah", *arguments], stdout=subprocess.PIPE, text=True, check=False, timeout=BUILD_SECONDS
    )
    if done.returncode:
        raise SystemExit(f"buildah {arguments[0]} failed")
    return done.stdout.strip()


def build(target: str, more: Sequence[str]) -> str:
    """Build a target of the Dockerfile with further arguments of the builder; return the image's name."""
    image = f"stylize-{target}"
    buildah("bud", *CHROOT, "--layers", "--format", "docker", "--target", target, "--tag", image, *more, str(ROOT))
    return image


@contextmanager
def container(image: str) -> Iterator[str]:
    """Yield the name of a container of an image, removed afterwards."""
    name = buildah("from", f"localhost/{image}")
    try:
        yield name
    finally:
        buildah("rm", name)


def config(image: str) -> dict[str, Any]:
    """Return what an image says of itself: User, Cmd, Healthcheck and the like."""
    return dict(json.loads(buildah("inspect", "--type", "image", f"localhost/{image}"))["Docker"]["config"])


def running(
    name: str,
    command: Sequence[str],
    *,
    user: str,
    environ: Mapping[str, str] | None = None,
    volumes: Sequence[str] = (),
) -> tuple[str, ...]:
    """Return the command that runs another one in a container; volumes are HOST:CONTAINER[:ro]."""
    variables = [f"--env={key}={value}" for key, value in (environ or {}).items()]
    mounts = [f"--volume={volume}" for volume in volumes]
    return ("buildah", "run", *CHROOT, f"--user={user}", *variables, *mounts, name, "--", *command)


def ask_to_end(process: subprocess.Popen[bytes]) -> None:
    """Send SIGTERM to the command that runs in a container: the builder itself would end it with SIGKILL."""
    pid = process.pid
    while Path(f"/proc/{pid}/cmdline").read_bytes().startswith(b"buildah"):
        pid = first_child(pid) or pid
    os.kill(pid, signal.SIGTERM)
