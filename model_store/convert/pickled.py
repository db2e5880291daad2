"""Convert a pickled checkpoint (`.bin`, `.ckpt`, `.pth`, `.pt`) to safetensors, in a restricted child process."""

import json
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import model_store
from model_store.convert.archive import check_form
from model_store.convert.keymap import keymap_of
from model_store.errors import BadCheckpoint, ConversionFailed
from model_store.load.header import read_header
from model_store.store.files import sync_file

PATIENCE = 5
_BOOT = "import sys; sys.path.insert(0, sys.argv.pop(1)); from model_store.convert.child import main; main()"


@dataclass(frozen=True)
class Limits:
    """What the child may use; none: by the size of the file."""

    memory_bytes: int | None = None
    """Memory beyond what the interpreter and torch take."""
    seconds: float | None = None
    """CPU time; by the clock it may take `PATIENCE` times as long, on a host that is busy with other work."""


@dataclass(frozen=True)
class Converted:
    """What a conversion made; `network` says whether the kernel left the child its network."""

    tensors: int
    network: bool


def convert_pickled(source: Path, target: Path, keymap: str, limits: Limits | None = None) -> Converted:
    """Write the tensors of `source` to the safetensors file `target`, durably.

    Raises ConversionFailed, with `target` gone, when the file is refused, is no plain checkpoint, fits nothing of the
    key map, or breaks a limit.
    """
    limits = limits or Limits()
    keymap_of(keymap)
    check_form(source)
    size = source.stat().st_size
    seconds = limits.seconds or 60 + size / 20e6
    memory = limits.memory_bytes or 3 * size + (1 << 29)
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        arguments = [str(source.resolve()), str(target.resolve()), keymap, str(memory), str(int(seconds) + 1)]
        said = _run(arguments, PATIENCE * seconds)
        header = read_header(target)
        if len(header.tensors) != said.tensors:
            raise ConversionFailed(f"{source}: {said.tensors} tensors were read, {len(header.tensors)} written")
        sync_file(target)
    except (ConversionFailed, BadCheckpoint) as fault:
        target.unlink(missing_ok=True)
        raise ConversionFailed(f"{source}: not converted: {fault}") from fault
    return said


def _run(arguments: list[str], seconds: float) -> Converted:
    """Run the child and return what it says. Raises ConversionFailed."""
    root = str(Path(model_store.__file__).parent.parent)
    command = [sys.executable, "-I", "-c", _BOOT, root, *arguments]
    with tempfile.TemporaryDirectory() as empty:
        environment = {"OMP_NUM_THREADS": "1", "HOME": empty, "TMPDIR": empty}
        try:
            done = subprocess.run(
                command, cwd=empty, env=environment, capture_output=True, timeout=seconds, check=False
            )
        except subprocess.TimeoutExpired as fault:
            raise ConversionFailed(f"took more than {seconds:.0f} s") from fault
    if done.returncode != 0:
        reason = done.stderr.decode(errors="replace").strip().splitlines() or [f"ended with {done.returncode}"]
        raise ConversionFailed(reason[-1][:500])
    return Converted(**json.loads(done.stdout))
