"""`stylize doctor`."""

from typing import Annotated

import typer
from rich.console import Console

from app.cli import checks
from workers.contract.errors import Misconfigured
from workers.contract.jobs.store import JobStore
from workers.settings import WorkerSettings

MARKS = {"ok": "[green]ok     [/green]", "warning": "[yellow]warning[/yellow]", "fault": "[red]fault  [/red]"}


def examine(strict: Annotated[bool, typer.Option(help="a warning is a fault, too")] = False) -> None:
    """Check Redis, pictures, GPU, models, disks and clock, and say what to do. Ends with 1 when there is a fault."""
    console = Console(soft_wrap=True, highlight=False)
    levels = set()
    for finding in _findings():
        levels.add(finding.level)
        console.print(f"{MARKS[finding.level]} {finding.about:13}", end="")
        console.print(finding.text, markup=False)
        if finding.advice:
            console.print(f"{'':21} -> {finding.advice}", markup=False)
    raise typer.Exit(1 if "fault" in levels or (strict and "warning" in levels) else 0)


def _findings() -> list[checks.Check]:
    try:
        settings = WorkerSettings.read()
        store = JobStore.from_settings(settings)
    except Misconfigured as fault:
        return [checks.Check("settings", "fault", str(fault), "correct it; .env.example explains every setting")]
    return list(checks.examine(settings, store))
