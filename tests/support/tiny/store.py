"""A model store that holds the tiny base models `tiny-sd15` and `tiny-sdxl`, made once for all tests. Without torch."""

import os
import shutil
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

TINY_STORE = Path(__file__).parents[3] / ".data" / "tiny-store"


def build_tiny_store() -> Path:
    """Return the folder of the shared store, which no test changes; build it if it is not there.

    It appears at once by a rename, so several processes may build it at the same time.
    """
    if not TINY_STORE.exists():
        TINY_STORE.parent.mkdir(exist_ok=True)
        with tempfile.TemporaryDirectory(dir=TINY_STORE.parent) as scratch:
            made = Path(scratch) / "store"
            command = (sys.executable, "-m", "tests.support.tiny.models", str(made), "--store")
            subprocess.run(command, check=True, cwd=TINY_STORE.parents[1], env={**os.environ, "OMP_NUM_THREADS": "1"})
            with suppress(OSError):  # another process was first: its files are the same
                made.rename(TINY_STORE)
    return TINY_STORE


def install_tiny_models(store: Path) -> Path:
    """Copy the shared store to a folder of the test, which may change it."""
    return Path(shutil.copytree(build_tiny_store(), store, dirs_exist_ok=True))
