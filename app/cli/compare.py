"""`stylize compare`: several methods, strengths or seeds from the same references, on one labelled sheet."""

import json
from pathlib import Path
from typing import Annotated, Any, cast

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

from app.cli.beside import DataDir
from app.cli.run import Name, tell_warnings
from app.cli.session import EXIT_STATUSES, FAILED, AsJson, Url, connect
from app.client import Client, ComparisonView, JobState, StylizeFields
from app.client.file_names import BY_JOB

SHEET = "comparison.png"
Number = typer.Option(show_default=False)


def compare(
    method: Annotated[list[str], typer.Option(help="a method; repeat for each to compare")],
    style: Annotated[list[Path] | None, typer.Option(help="a style picture; repeat for several", exists=True)] = None,
    style_id: Annotated[str | None, typer.Option(help="a saved style in their place", show_default=False)] = None,
    prompt: Annotated[str | None, typer.Option(help="what to draw", show_default=False)] = None,
    content: Annotated[Path | None, typer.Option(exists=True, dir_okay=False, show_default=False)] = None,
    mask: Annotated[Path | None, typer.Option(exists=True, dir_okay=False, show_default=False)] = None,
    strength: Annotated[list[float] | None, typer.Option(help="0 to 1; repeat")] = None,
    seed: Annotated[list[int] | None, typer.Option(help="repeat; one is drawn for all without")] = None,
    width: Annotated[int | None, Number] = None,
    height: Annotated[int | None, Number] = None,
    steps: Annotated[int | None, Number] = None,
    model: Annotated[str | None, typer.Option(help="base model", show_default=False)] = None,
    name: Name = BY_JOB,
    out: Annotated[Path, typer.Option(help=f"folder for {SHEET} and the pictures")] = Path(),
    url: Url = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Draw with each method, strength and seed and write a labelled sheet and all pictures. Ctrl-C cancels all jobs."""
    plain = {"style_id": style_id, "prompt": prompt, "width": width, "height": height, "steps": steps, "model": model}
    given: dict[str, Any] = plain | {"style_images": style, "content_image": content, "mask_image": mask}
    asked = cast(StylizeFields, {name: value for name, value in given.items() if value is not None})
    with connect(url, data_dir) as client:
        made = client.compare(method, strengths=strength or (), seeds=seed or (), **asked)
        done = follow_comparison(client, made, quiet=as_json)
        files = write_pictures(client, done, out, name)
    shown = {**done.model_dump(mode="json"), "files": [str(file) for file in files]}
    typer.echo(json.dumps(shown, indent=2) if as_json else "\n".join(map(str, files)))
    for cell in done.cells:
        if cell.job:
            tell_warnings(cell.job)
    if any(cell.job is None or cell.job.state is not JobState.SUCCEEDED for cell in done.cells):
        raise typer.Exit(FAILED)


compare.__doc__ = f"{compare.__doc__}\n\n{EXIT_STATUSES}"


def follow_comparison(client: Client, made: ComparisonView, *, quiet: bool) -> ComparisonView:
    """Return a comparison once all its jobs are final; cancel them when the user interrupts."""
    console = Console(stderr=True, quiet=quiet)
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    try:
        with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
            task = bar.add_task("comparing", total=1.0)

            def draw(now: ComparisonView) -> None:
                told = f"{now.progress.finished}/{now.progress.total} done"
                bar.update(task, completed=now.progress.fraction, description=told)

            return client.wait_comparison(made.id, on_update=draw)
    except KeyboardInterrupt:
        client.cancel_comparison(made.id)
        typer.echo(f"stylize: canceled {made.id}", err=True)
        raise


def write_pictures(client: Client, done: ComparisonView, out: Path, name: str) -> list[Path]:
    """Write the sheet and the pictures, named by a template; return where they are, the sheet first."""
    out.mkdir(parents=True, exist_ok=True)
    files = [out / SHEET]
    files[0].write_bytes(client.get_contact_sheet(done.id))
    for cell in done.cells:
        if cell.job is not None:
            files += client.download(cell.job, out, name=name, first=len(files))
    return files
