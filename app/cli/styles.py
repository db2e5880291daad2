"""`stylize styles`: save references under a name, prepare them for methods, show, list and delete them."""

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from app.cli.beside import DataDir
from app.cli.session import EXIT_STATUSES, AsJson, Url, connect
from app.client import StyleView

MOST = 100
Model = Annotated[str | None, typer.Option(help="the base model (default: the service's first)", show_default=False)]


def create() -> typer.Typer:
    """Return the sub-command."""
    app = typer.Typer(
        name="styles",
        help="Save references once; `stylize run --style-id` then draws in their style.",
        epilog=EXIT_STATUSES,
        no_args_is_help=True,
        add_completion=False,
    )
    app.command("save")(save)
    app.command("precompute")(precompute)
    app.command("show")(show)
    app.command("list")(list_styles)
    app.command("delete")(delete)
    return app


def save(
    name: Annotated[str, typer.Argument(help="what people call it")],
    style: Annotated[list[Path], typer.Option(help="a reference, 1 to 10; repeat", exists=True, dir_okay=False)],
    weight: Annotated[list[float] | None, typer.Option(help="how much each counts, in the same order")] = None,
    precompute: Annotated[list[str] | None, typer.Option(help="a method to prepare it for at once; repeat")] = None,
    model: Model = None,
    url: Url = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Save references under a name and write the style's id."""
    with connect(url, data_dir) as client:
        saved = client.save_style(name, style, weights=weight or (), precompute=precompute or (), model=model)
    typer.echo(saved.model_dump_json(indent=2) if as_json else saved.id)


def precompute(
    style_id: Annotated[str, typer.Argument(help="id of a style")],
    method: Annotated[list[str], typer.Option(help="what to prepare it for; repeat")],
    model: Model = None,
    url: Url = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Have a worker compute now what methods need of a style, so that no job waits for it."""
    with connect(url, data_dir) as client:
        tell_style(client.precompute_style(style_id, method, model=model), as_json=as_json)


def show(
    style_id: Annotated[str, typer.Argument(help="id of a style")],
    url: Url = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Show for which methods a style is prepared."""
    with connect(url, data_dir) as client:
        tell_style(client.get_style(style_id), as_json=as_json)


def tell_style(style: StyleView, *, as_json: bool) -> None:
    """Write how far a style is prepared."""
    if as_json:
        typer.echo(style.model_dump_json(indent=2))
        return
    table = Table("method", "model", "state", box=None, pad_edge=False)
    for one in style.prepared:
        table.add_row(one.method, one.model, one.state)
    write_style(table)


def write_style(table: Table) -> None:
    """Write a table, in a file as wide as it wants."""
    console = Console()
    (console if console.is_terminal else Console(width=160)).print(table)


def list_styles(url: Url = None, data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """List all saved styles, newest first."""
    found: list[StyleView] = []
    with connect(url, data_dir) as client:
        page = client.list_styles(limit=MOST)
        found += page.styles
        while page.cursor:
            page = client.list_styles(limit=MOST, cursor=page.cursor)
            found += page.styles
    if as_json:
        typer.echo(json.dumps([style.model_dump(mode="json") for style in found], indent=2))
        return
    table = Table("id", "name", "references", "created", box=None, pad_edge=False)
    for style in found:
        table.add_row(style.id, style.name, str(len(style.references)), f"{style.created_at:%Y-%m-%d %H:%M:%S}")
    write_style(table)


def delete(
    style_ids: Annotated[list[str], typer.Argument(help="ids of styles")], url: Url = None, data_dir: DataDir = None
) -> None:
    """Delete styles; jobs that use them go on."""
    with connect(url, data_dir) as client:
        for style_id in style_ids:
            client.delete_style(style_id)
