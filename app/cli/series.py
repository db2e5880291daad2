"""`stylize series`: a file of prompts in one style, several pictures each, named by prompt and seed."""

import json
from collections import deque
from collections.abc import Generator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Annotated, Any, cast

import typer

from app.cli.beside import DataDir
from app.cli.run import Name
from app.cli.session import EXIT_STATUSES, FAILED, Url, connect, lines
from app.client import Client, JobCanceled, JobFailed, JobView, RequestRefused, StylizeFields
from app.client.file_names import BY_PROMPT

RECIPES = "recipes.json"
MOST_PROMPTS = 1000
AT_ONCE = 4
"""Prompts that are asked for before the first of them is done: enough to keep workers busy."""
Number = typer.Option(show_default=False)


def series(
    prompts: Annotated[
        Path, typer.Option(exists=True, dir_okay=False, allow_dash=True, help="a prompt a line; - is standard input")
    ],
    style: Annotated[list[Path] | None, typer.Option(help="a style picture; repeat for several", exists=True)] = None,
    style_id: Annotated[str | None, typer.Option(help="a saved style in their place", show_default=False)] = None,
    n: Annotated[int, typer.Option("--n", "-n", min=1, max=8, help="pictures of each prompt")] = 1,
    method: Annotated[str | None, typer.Option(help="see GET /methods; default: the best measured")] = None,
    strength: Annotated[float | None, typer.Option(help="how much style, 0 to 1", show_default=False)] = None,
    seed: Annotated[int | None, typer.Option(help="of each prompt's first picture; drawn without")] = None,
    width: Annotated[int | None, Number] = None,
    height: Annotated[int | None, Number] = None,
    steps: Annotated[int | None, Number] = None,
    model: Annotated[str | None, typer.Option(help="base model", show_default=False)] = None,
    name: Name = BY_PROMPT,
    out: Annotated[Path, typer.Option(help=f"folder for the pictures and {RECIPES}")] = Path(),
    url: Url = None,
    data_dir: DataDir = None,
) -> None:
    """Draw each prompt of a file in one style and write the pictures and what made them. Ctrl-C cancels the rest.

    Empty lines and lines that begin with # are left out. A prompt that fails keeps no other.
    """
    given = {name: value for name, value in locals().items() if name in StylizeFields.__annotations__}
    asked = {name: value for name, value in given.items() if value is not None}
    asked |= {"num_images": n, **({"style_images": style} if style else {})}
    texts = read_prompts(prompts)
    failed = False
    with (
        connect(url, data_dir) as client,
        closing(draw(client, method, texts, cast(StylizeFields, asked))) as ended,
    ):
        for number, done in enumerate(ended):
            if isinstance(done, JobView):
                files = client.download(done, out, name=name, first=1 + number * n)
                note_recipes(out, done, files)
                typer.echo("\n".join(map(str, files)))
            else:
                failed = True
                typer.echo("\n".join(f"stylize: {texts[number][:60]!r}: {line}" for line in lines(done)), err=True)
    if failed:
        raise typer.Exit(FAILED)


series.__doc__ = f"{series.__doc__}\n\n{EXIT_STATUSES}"
Ended = JobView | JobFailed | JobCanceled | RequestRefused


def read_prompts(file: Path) -> list[str]:
    """Return the prompts of a file. Raises typer.BadParameter."""
    try:
        text = typer.get_text_stream("stdin").read() if str(file) == "-" else file.read_text("utf-8-sig")
    except UnicodeDecodeError as fault:
        raise typer.BadParameter(f"{file} is no UTF-8 text: {fault}", param_hint="--prompts") from fault
    found = [line for raw in text.splitlines() if (line := raw.strip()) and not line.startswith("#")]
    if not 1 <= len(found) <= MOST_PROMPTS:
        raise typer.BadParameter(
            f"{file} has {len(found)} prompts; it must have 1 to {MOST_PROMPTS}", param_hint="--prompts"
        )
    return found


def draw(client: Client, method: str | None, prompts: Sequence[str], asked: StylizeFields) -> Generator[Ended]:
    """Yield what became of each prompt, in their order, with some of the next under way; cancel the rest at the end.

    Raises StylizeError; RequestRefused only where the very first prompt is refused: all others would be, too.
    """
    rest, under_way = deque(prompts), deque[Ended]()
    try:
        while rest or under_way:
            while rest and len(under_way) < AT_ONCE:
                under_way.append(submit(client, method, rest[0], asked, first=len(rest) == len(prompts)))
                rest.popleft()
            yield wait(client, under_way[0])
            under_way.popleft()
    finally:
        for job in under_way:
            if isinstance(job, JobView):
                client.cancel(job)


def submit(
    client: Client, method: str | None, prompt: str, asked: StylizeFields, *, first: bool
) -> JobView | RequestRefused:
    """Return the job of one prompt, or why it was refused. Raises StylizeError."""
    try:
        return client.submit(method, **cast(StylizeFields, {**asked, "prompt": prompt}))
    except RequestRefused as refused:
        if first:
            raise
        return refused


def wait(client: Client, job: Ended) -> Ended:
    """Return the finished job, or why there is none. Raises StylizeError."""
    if not isinstance(job, JobView):
        return job
    try:
        return client.wait(job)
    except (JobFailed, JobCanceled) as ended:
        return ended


def note_recipes(folder: Path, job: JobView, files: Sequence[Path]) -> None:
    """Write what made the files beside them, together with what an earlier series wrote."""
    path = folder / RECIPES
    known: list[dict[str, Any]] = json.loads(path.read_bytes()) if path.exists() else []
    made = [
        {
            "file": file.name,
            "job": job.id,
            "index": index,
            "seed": image.seed,
            "sha256": image.sha256,
            "recipe": job.recipe.model_dump(mode="json"),
        }
        for index, (file, image) in enumerate(zip(files, job.images, strict=True))
    ]
    names = {one["file"] for one in made}
    told = [one for one in known if one["file"] not in names] + made
    path.write_text(json.dumps(told, indent=2, ensure_ascii=False), encoding="utf-8")
