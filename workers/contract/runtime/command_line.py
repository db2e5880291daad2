"""The command `stylize` as a terminal on this machine takes it, for advice that can be copied."""

import shlex
import shutil
import sys
from pathlib import Path

PROGRAM = "stylize"


def command_line(*arguments: str, data_dir: Path | None = None) -> str:
    """Return a command of this installation; `data_dir` is the folder of the `stylize up` that it is for."""
    beside = ("--data-dir", str(data_dir.absolute())) if data_dir else ()
    return f"{program()} {shlex.join((*arguments, *beside))}".strip()


def program() -> str:
    """Return what calls this installation: its name where PATH finds it, else its path."""
    installed = Path(sys.prefix) / "bin" / PROGRAM
    if not installed.exists():
        return f"{shlex.quote(sys.executable)} -m app.cli.main"
    found = shutil.which(PROGRAM)
    return PROGRAM if found and Path(found).resolve() == installed.resolve() else shlex.quote(str(installed))
