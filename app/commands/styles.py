"""`stylize styles`: save references under a name, list and delete them."""

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from app.commands.connection import EXIT_STATUSES, AsJson, Url, connected
from app.group_schemas import StyleView

MOST = 100


def create() -> typer.Typer:
    """Return the sub-command."""
    app = typer.Typer(
        name="styles",
        help="Save references once; `stylize run --style-id` then draws in their style.",
        epilog=EXIT_STATUSES,
        no_args_is_help=True,
        add_completion=False,
    )
    for name, command in (("save", save), ("list", list_styles), ("delete", delete)):
        app.command(name)(command)
    return app


def save(
    name: Annotated[str, typer.Argument(help="what people call it")],
    style: Annotated[list[Path], typer.Option(help="a reference, 1 to 10; repeat", exists=True, dir_okay=False)],
    weight: Annotated[list[float] | None, typer.Option(help="how much each counts, in the same order")] = None,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Save references under a name and write the style's id."""
    with connected(url) as client:
        saved = client.save_style(name, style, weights=weight or ())
    typer.echo(saved.model_dump_json(indent=2) if as_json else saved.id)


def list_styles(url: Url = None, as_json: AsJson = False) -> None:
    """List all saved styles, newest first."""
    found: list[StyleView] = []
    with connected(url) as client:
        page = client.styles(limit=MOST)
        found += page.styles
        while page.cursor:
            page = client.styles(limit=MOST, cursor=page.cursor)
            found += page.styles
    if as_json:
        typer.echo(json.dumps([style.model_dump(mode="json") for style in found], indent=2))
        return
    table = Table("id", "name", "references", "created", box=None, pad_edge=False)
    for style in found:
        table.add_row(style.id, style.name, str(len(style.references)), f"{style.created_at:%Y-%m-%d %H:%M:%S}")
    console = Console()
    (console if console.is_terminal else Console(width=160)).print(table)


def delete(style_ids: Annotated[list[str], typer.Argument(help="ids of styles")], url: Url = None) -> None:
    """Delete styles; jobs that use them go on."""
    with connected(url) as client:
        for style_id in style_ids:
            client.delete_style(style_id)
