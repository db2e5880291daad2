"""`stylize doctor`."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from app.cli import checks
from app.cli.beside import DataDir, find_stack, named_folder, read_settings
from workers.contract.errors import Misconfigured
from workers.contract.jobs.store import JobStore
from workers.settings import WorkerSettings

MARKS = {"ok": "[green]ok     [/green]", "warning": "[yellow]warning[/yellow]", "fault": "[red]fault  [/red]"}


def examine(
    strict: Annotated[bool, typer.Option(help="a warning is a fault, too")] = False, data_dir: DataDir = None
) -> None:
    """Check Redis, pictures, GPU, models, disks and clock, and say what to do. Ends with 1 when there is a fault.

    Of a `stylize up` that runs in ./data, STYLIZE_DATA_DIR or --data-dir it checks what that one uses. Makes no folder.
    """
    console = Console(soft_wrap=True, highlight=False)
    levels = set()
    for finding in _findings(data_dir):
        levels.add(finding.level)
        console.print(f"{MARKS[finding.level]} {finding.about:14}", end="")
        console.print(finding.text, markup=False)
        if finding.advice:
            console.print(f"{'':22} -> {finding.advice}", markup=False)
    raise typer.Exit(1 if "fault" in levels or (strict and "warning" in levels) else 0)


def _findings(data_dir: Path | None) -> list[checks.Check]:
    try:
        settings = read_settings(WorkerSettings, data_dir)
        stack = list(checks.stack(find_stack(data_dir), named_folder(data_dir)))
        store = JobStore.from_settings(settings)
    except Misconfigured as fault:
        return [checks.Check("settings", "fault", str(fault), "correct it; .env.example explains every setting")]
    return [*stack, *checks.examine(settings, store)]
