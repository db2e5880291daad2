"""`stylize jobs`: list, show, wait for, download, cancel and delete."""

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from app.cli import operator
from app.cli.beside import DataDir
from app.cli.operator import MOST_PROMPT, AllOwners, Owner
from app.cli.run import Name, follow_job
from app.cli.session import EXIT_STATUSES, AsJson, Url, connect
from app.client import JobView
from app.client.file_names import BY_JOB
from workers.contract.jobs.models import State

Id = Annotated[str, typer.Argument(help="id of a job")]
MOST = 100


def create() -> typer.Typer:
    """Return the sub-command."""
    app = typer.Typer(
        name="jobs",
        help="Look at jobs, wait for them, fetch their pictures, cancel and delete them.",
        epilog=EXIT_STATUSES,
        no_args_is_help=True,
        add_completion=False,
    )
    for name, command in (
        ("list", list_jobs),
        ("show", show),
        ("download", download),
        ("cancel", cancel),
        ("delete", delete),
    ):
        app.command(name)(command)
    return app


def list_jobs(
    state: Annotated[State | None, typer.Option(help="only jobs in this state", show_default=False)] = None,
    text: Annotated[str | None, typer.Option(help="only jobs with this in the prompt", show_default=False)] = None,
    method: Annotated[str | None, typer.Option(help="only jobs of this method", show_default=False)] = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="at most so many")] = 20,
    url: Url = None,
    as_json: AsJson = False,
    owner: Owner = None,
    all_owners: AllOwners = False,
    data_dir: DataDir = None,
) -> None:
    """List jobs, newest first: your own, or with --owner or --all-owners any, by state alone."""
    if owner or all_owners:
        operator.list_jobs(owner, state, limit, data_dir, as_json=as_json)
        return
    found: list[JobView] = []
    with connect(url, data_dir) as client:
        cursor = None
        while len(found) < limit:
            most = min(MOST, limit - len(found))
            page = client.list_jobs(state=state, text=text, method=method, limit=most, cursor=cursor)
            found += page.jobs
            cursor = page.cursor
            if cursor is None:
                break
    if as_json:
        typer.echo(json.dumps([job.model_dump(mode="json") for job in found], indent=2))
    else:
        console = Console()
        (console if console.is_terminal else Console(width=160)).print(table(found))


def show(job_id: Id, url: Url = None, data_dir: DataDir = None) -> None:
    """Write one job as JSON."""
    with connect(url, data_dir) as client:
        typer.echo(client.get_job(job_id).model_dump_json(indent=2))


def download(
    job_id: Id,
    name: Name = BY_JOB,
    out: Annotated[Path, typer.Option(help="folder for the pictures")] = Path(),
    url: Url = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Wait for a job and write its pictures to a folder. Ctrl-C cancels the job."""
    with connect(url, data_dir) as client:
        files = client.download(follow_job(client, client.get_job(job_id), quiet=as_json), out, name=name)
    names = [str(file) for file in files]
    typer.echo(json.dumps(names) if as_json else "\n".join(names))


def cancel(
    job_ids: Annotated[list[str] | None, typer.Argument(help="ids of jobs", show_default=False)] = None,
    url: Url = None,
    as_json: AsJson = False,
    owner: Owner = None,
    all_owners: AllOwners = False,
    data_dir: DataDir = None,
) -> None:
    """Cancel jobs; finished ones stay as they are.

    With --all-owners anybody's; with --owner alone all that this one has waiting and running.
    """
    if owner or (all_owners and job_ids):
        operator.cancel(owner, job_ids or [], data_dir, as_json=as_json)
        return
    if not job_ids:
        raise typer.BadParameter("name jobs by their ids, or an owner with --owner")
    with connect(url, data_dir) as client:
        states = {job_id: client.cancel(job_id).state for job_id in job_ids}
    lines = (f"{job_id} {state}" for job_id, state in states.items())
    typer.echo(json.dumps(states) if as_json else "\n".join(lines))


def delete(job_ids: Annotated[list[str], typer.Argument(help="ids of final jobs")], url: Url = None) -> None:
    """Delete final jobs with their pictures, and references that nothing else uses. There is no way back.

    Jobs that wait or run are canceled and stay in the list.
    """
    with connect(url) as client:
        for job_id in job_ids:
            client.delete(job_id)
            typer.echo(job_id)


def table(jobs: list[JobView]) -> Table:
    """Return the jobs as a table."""
    shown = Table("id", "state", "method", "model", "created", "pictures", box=None, pad_edge=False)
    shown.add_column("prompt", no_wrap=True, overflow="ellipsis", max_width=MOST_PROMPT)
    for job in jobs:
        fraction = f" {job.progress.fraction:.0%}" if job.progress and not job.state.final else ""
        created, prompt = f"{job.created_at:%Y-%m-%d %H:%M:%S}", Text(getattr(job.recipe, "prompt", ""))
        shown.add_row(job.id, job.state + fraction, job.method, job.model, created, str(len(job.images)), prompt)
    return shown
