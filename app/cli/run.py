"""`stylize run`: from pictures and a prompt to pictures, in one command."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, cast

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from app.cli.beside import DataDir
from app.cli.session import EXIT_STATUSES, AsJson, Url, connect
from app.client import Client, JobState, JobView, StylizeFields
from app.client.file_names import BY_JOB, BY_PROMPT, check_template

Picture = typer.Option(exists=True, dir_okay=False, readable=True, show_default=False)
Quiet = typer.Option(show_default=False)


def parse_name(template: str) -> str:
    """Return a template of file names. Raises typer.BadParameter."""
    try:
        return check_template(template)
    except ValueError as fault:
        raise typer.BadParameter(str(fault)) from fault


Name = Annotated[
    str,
    typer.Option(
        metavar="TEMPLATE",
        callback=parse_name,
        help="the files' names: {n} counts from 1, {index} in the job from 0, {prompt}, {seed}, {method}, {model}, "
        f"{{job}}, such as {BY_PROMPT}",
    ),
]


def run(
    style: Annotated[list[Path] | None, typer.Option(help="a style picture; repeat for several", exists=True)] = None,
    style_id: Annotated[str | None, typer.Option(help="a saved style in their place", show_default=False)] = None,
    prompt: Annotated[str | None, typer.Option(help="what to draw", show_default=False)] = None,
    method: Annotated[str | None, typer.Option(help="see GET /methods; default: the best measured")] = None,
    content: Annotated[Path | None, Picture] = None,
    control: Annotated[Path | None, Picture] = None,
    mask: Annotated[Path | None, Picture] = None,
    negative_prompt: Annotated[str | None, Quiet] = None,
    strength: Annotated[float | None, typer.Option(help="how much style, 0 to 1", show_default=False)] = None,
    seed: Annotated[int | None, typer.Option(help="the same seed gives the same picture", show_default=False)] = None,
    num_images: Annotated[int | None, typer.Option("--num-images", "-n", show_default=False)] = None,
    width: Annotated[int | None, Quiet] = None,
    height: Annotated[int | None, Quiet] = None,
    steps: Annotated[int | None, Quiet] = None,
    guidance_scale: Annotated[float | None, Quiet] = None,
    style_weights: Annotated[str | None, typer.Option(help="one number per style picture: 1,0.5")] = None,
    model: Annotated[str | None, typer.Option(help="base model", show_default=False)] = None,
    param: Annotated[list[str] | None, typer.Option(help="a knob of the method, NAME=VALUE; repeat")] = None,
    output_format: Annotated[str | None, typer.Option(help="png, jpeg or webp", show_default=False)] = None,
    priority: Annotated[str | None, typer.Option(help="interactive or batch", show_default=False)] = None,
    recipe: Annotated[Path | None, typer.Option(help="a recipe (JSON), or a picture that carries one")] = None,
    name: Name = BY_JOB,
    out: Annotated[Path, typer.Option(help="folder for the pictures")] = Path(),
    detach: Annotated[bool, typer.Option("--detach", help="do not wait; write the job's id")] = False,
    url: Url = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Make pictures in the style of a reference and write them to a folder. Ctrl-C cancels the job."""
    given = {
        name: value for name, value in locals().items() if name in StylizeFields.__annotations__ and value is not None
    }
    pictures = {"style_images": style, "content_image": content, "control_image": control, "mask_image": mask}
    asked = given | {name: value for name, value in pictures.items() if value} | parse_params(param or [])
    with connect(url, data_dir) as client:
        job = submit_job(client, method, recipe, cast(StylizeFields, asked))
        if detach:
            typer.echo(job.model_dump_json(indent=2) if as_json else job.id)
            return
        done = follow_job(client, job, quiet=as_json)
        files = client.download(done, out, name=name)
    if as_json:
        typer.echo(json.dumps({**done.model_dump(mode="json"), "files": [str(file) for file in files]}, indent=2))
    else:
        for file in files:
            typer.echo(file)


run.__doc__ = f"{run.__doc__}\n\n{EXIT_STATUSES}"


def parse_params(given: list[str]) -> dict[str, Any]:
    """Return NAME=VALUE pairs as `params`; a value is JSON, or else a text. Raises typer.BadParameter."""
    params = {}
    for pair in given:
        name, equals, value = pair.partition("=")
        if not equals:
            raise typer.BadParameter(f"{pair!r} is not NAME=VALUE", param_hint="--param")
        try:
            params[name] = json.loads(value)
        except ValueError:
            params[name] = value
    return {"params": params} if params else {}


def submit_job(client: Client, method: str | None, recipe: Path | None, asked: StylizeFields) -> JobView:
    """Submit what the options ask for."""
    if recipe is None:
        return client.submit(method, **asked)
    content = recipe.read_bytes()
    return client.submit_recipe(json.loads(content) if content.lstrip().startswith(b"{") else content, **asked)


def follow_job(client: Client, job: JobView, *, quiet: bool) -> JobView:
    """Return the job once it is done, showing how far it is; cancel it when the user interrupts."""
    try:
        with show_job(job, quiet=quiet) as show:
            done = client.wait(job, on_update=show)
    except KeyboardInterrupt:
        client.cancel(job)
        typer.echo(f"stylize: canceled {job.id}", err=True)
        raise
    tell_warnings(done)
    return done


def tell_warnings(job: JobView) -> None:
    """Say what of a request did not count, where the files it made are not mixed with it."""
    for warning in job.warnings:
        typer.echo(f"stylize: {warning}", err=True)


@contextmanager
def show_job(job: JobView, *, quiet: bool) -> Iterator[Callable[[JobView], None] | None]:
    """Give a function that shows the job it is called with as a bar; None where there is no terminal."""
    console = Console(stderr=True)
    if quiet or not console.is_terminal:
        yield None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(describe(job), total=None)
        yield lambda current: draw(bar, task, current)


def draw(bar: Progress, task: TaskID, job: JobView) -> None:
    """Move the bar to where a job is."""
    progress = job.progress
    steps = progress.steps if progress else getattr(job.recipe, "steps", 0)
    bar.update(task, description=describe(job), completed=progress.step if progress else 0, total=steps or None)


def describe(job: JobView) -> str:
    """Return in a few words where a job is."""
    if job.state is JobState.QUEUED and job.queue:
        return f"waiting, {job.queue.position} before" if job.queue.position else "waiting, next"
    return f"{job.method}: {job.progress.stage if job.progress else job.state}"
