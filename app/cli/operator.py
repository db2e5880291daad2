"""What an operator does beside the gateway, on the Redis of the jobs: see and stop the jobs of any owner."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from app.auth.key_store import KeyStore
from app.auth.signed_urls import Links
from app.cli.beside import open_redis
from app.services.job_view import job_view
from workers.contract.errors import StoreUnavailable
from workers.contract.jobs.models import Job, State
from workers.contract.jobs.operator import Operator

MOST_PROMPT = 48
"""Letters of a prompt in the table of jobs."""
AllOwners = Annotated[
    bool, typer.Option("--all-owners", help="for operators: any owner's jobs, straight from Redis, as `stylize keys`")
]
Owner = Annotated[
    str | None, typer.Option(help="for operators: the jobs of one key (its id or name), or of `anyone`", metavar="KEY")
]


@contextmanager
def operator(data_dir: Path | None) -> Iterator[Operator]:
    """Give an operator; tell in one line when Redis is away, and end with 1. Raises typer.Exit."""
    with open_redis(data_dir) as redis:
        try:
            yield Operator(redis)
        except StoreUnavailable as away:
            typer.echo(f"{away.code}: {away}", err=True)
            raise typer.Exit(1) from away


def list_jobs(owner: str | None, state: State | None, limit: int, data_dir: Path | None, *, as_json: bool) -> None:
    """List jobs of one owner or of all, newest first."""
    with operator(data_dir) as found:
        names = {key.id: key.name for key in KeyStore(found.redis).all().values()}
        jobs = list(islice(found.jobs(owner and owner_of(found, owner), state), limit))
    if as_json:
        shown = [_shown(job) for job in jobs]
        typer.echo(json.dumps(shown, indent=2))
        return
    console = Console()
    (console if console.is_terminal else Console(width=160)).print(_table(jobs, names))


def cancel(owner: str | None, job_ids: list[str], data_dir: Path | None, *, as_json: bool) -> None:
    """Cancel jobs whoever's they are; an owner without ids: all it has waiting and running. Raises typer.Exit."""
    with operator(data_dir) as found:
        whose = owner and owner_of(found, owner)
        if whose and not job_ids:
            canceled = found.cancel_unfinished(whose)
            text = f"canceled {canceled.queued} queued and {canceled.running} running jobs of {owner}"
            typer.echo(json.dumps(canceled._asdict()) if as_json else text)
            return
        ended = {job_id: found.cancel(job_id, whose) for job_id in job_ids}
    states = {job_id: state for job_id, state in ended.items() if state}
    typer.echo(json.dumps(states) if as_json else "\n".join(f"{job_id} {state}" for job_id, state in states.items()))
    if missing := [job_id for job_id in ended if job_id not in states]:
        typer.echo(f"stylize: there is no job {', '.join(missing)}", err=True)
        raise typer.Exit(1)


def owner_of(found: Operator, key: str) -> str:
    """Return the owner that a key's id or name stands for; another text is an owner's own. Raises typer.Exit."""
    keys = KeyStore(found.redis).find(key)
    if len(keys) > 1:
        typer.echo(f"stylize: several keys are called {key}: {', '.join(found.id for found in keys)}", err=True)
        raise typer.Exit(1)
    return keys[0].id if keys else key


def _shown(job: Job) -> dict[str, Any]:
    """Return a job's document and owner; only its gateway knows how long it is kept."""
    view = job_view(job, Links(), None, keep=timedelta())
    return view.model_dump(mode="json", exclude={"expires_at"}) | {"owner": job.owner}


def _table(jobs: list[Job], names: dict[str, str]) -> Table:
    shown = Table("id", "owner", "state", "method", "model", "created", box=None, pad_edge=False)
    shown.add_column("prompt", no_wrap=True, overflow="ellipsis", max_width=MOST_PROMPT)
    for job in jobs:
        created = f"{job.created_at:%Y-%m-%d %H:%M:%S}"
        owner = f"{job.owner} {names[job.owner]}" if job.owner in names else job.owner
        prompt = Text(getattr(job.request, "prompt", ""))
        shown.add_row(job.id, owner, job.state, job.request.method, job.request.model, created, prompt)
    return shown
