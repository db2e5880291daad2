"""`stylize eval`: handed on to the evaluation, which needs torch."""

import subprocess
import sys

import typer

FORWARDED = {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}


def evaluate(context: typer.Context) -> None:
    """Judge every technique on the starter model: style similarity, content accuracy, leak rate (needs the worker)."""
    raise typer.Exit(subprocess.call((sys.executable, "-m", "workers.evaluation", *context.args)))
