"""`stylize eval`: handed on to the evaluation, which needs torch."""

import subprocess
import sys

import typer

FORWARDED = {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}


def evaluate(context: typer.Context) -> None:
    """Judge every technique on the starter model: style similarity, content accuracy, leak rate (needs the worker)."""
    command = ("env", "TRANSFORMERS_VERBOSITY=error", sys.executable, "-m", "workers.evaluation", *context.args)
    raise typer.Exit(subprocess.call(command))
