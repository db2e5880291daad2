"""`stylize keys`: make, list and revoke the keys that open the gateway."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer
from pydantic import ValidationError
from redis import Redis
from rich.console import Console
from rich.table import Table

from app.auth.api_key import SCOPES, ApiKey, Scope, create_api_key
from app.auth.key_store import KeyStore
from app.cli.beside import DataDir, open_redis
from model_store.option_group import OptionsAnywhere
from workers.contract.errors import StoreUnavailable
from workers.contract.jobs.operator import Operator

AsJson = Annotated[bool, typer.Option("--json", help="machine-readable")]


def create() -> typer.Typer:
    """Return the sub-command."""
    app = typer.Typer(
        cls=OptionsAnywhere,
        name="keys",
        help="Make, list and revoke API keys.",
        no_args_is_help=True,
        add_completion=False,
    )

    @app.callback()
    def keys(context: typer.Context, data_dir: DataDir = None) -> None:
        """Make, list and revoke API keys. Once there is a key, every request to the gateway needs one.

        Beside a `stylize up` in ./data nothing needs to be named; --data-dir may stand behind the sub-command, too.
        """
        context.obj = data_dir

    app.command("create")(create_key)
    app.command("list")(list_keys)
    app.command("revoke")(revoke_key)
    return app


@contextmanager
def _opened(context: typer.Context) -> Iterator[Redis]:
    """Give the Redis of the keys; say what goes wrong in one line and end with 1."""
    try:
        with open_redis(context.obj) as redis:
            yield redis
    except StoreUnavailable as away:
        typer.echo(f"{away.code}: {away}", err=True)
        raise typer.Exit(1) from away


def create_key(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="whose key it is, for `list`")],
    scope: Annotated[list[str] | None, typer.Option(help="read, write; default both", show_default=False)] = None,
    days: Annotated[
        float | None, typer.Option(min=0.0001, max=36_500, help="valid so long", show_default=False)
    ] = None,
    rate: Annotated[str | None, typer.Option(help="requests for work, such as 60/minute", show_default=False)] = None,
    in_flight: Annotated[int | None, typer.Option(min=1, help="most unfinished jobs", show_default=False)] = None,
    as_json: AsJson = False,
) -> None:
    """Make a key and print its token, which is shown this once and kept nowhere."""
    expires_at = datetime.now(UTC) + timedelta(days=days) if days else None
    try:
        key, token = create_api_key(name, scopes=_scopes(scope), expires_at=expires_at, rate=rate, in_flight=in_flight)
    except (ValidationError, ValueError) as fault:
        what = "; ".join(error["msg"] for error in fault.errors()) if isinstance(fault, ValidationError) else str(fault)
        typer.echo(f"stylize keys: {what}", err=True)
        raise typer.Exit(2) from fault
    with _opened(context) as redis:
        KeyStore(redis).put(key)
    typer.echo(json.dumps({"id": key.id, "token": str(token)}) if as_json else str(token))


def list_keys(context: typer.Context, as_json: AsJson = False) -> None:
    """List all keys, without their secrets."""
    with _opened(context) as redis:
        keys = KeyStore(redis).all()
    if as_json:
        typer.echo(json.dumps([key.model_dump(mode="json", exclude={"digest"}) for key in keys.values()]))
        return
    table = Table("id", "name", "scopes", "created", "state", "rate", "in flight", box=None)
    for key in keys.values():
        created, limit = f"{key.created_at:%Y-%m-%d %H:%M}", str(key.in_flight or "-")
        table.add_row(key.id, key.name, " ".join(key.scopes), created, _state(key), key.rate or "-", limit)
    console = Console()
    (console if console.is_terminal else Console(width=160)).print(table)


def revoke_key(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="id or name of a key; see `list`", metavar="KEY")],
    cancel_jobs: Annotated[bool, typer.Option("--cancel-jobs", help="cancel its unfinished jobs, too")] = False,
) -> None:
    """Make a key useless for good, at every gateway within 10 seconds.

    Streams and waits end, no job is accepted any more and no webhook of its jobs is called; what it has waiting and
    running is still done unless --cancel-jobs is given.
    """
    with _opened(context) as redis:
        store = KeyStore(redis)
        found = store.find(name)
        if len(found) != 1:
            several = f"several keys are called {name}, name one by its id: {', '.join(key.id for key in found)}"
            typer.echo(f"stylize keys: {several if found else f'there is no key {name}'}", err=True)
            raise typer.Exit(1)
        store.revoke(found[0].id)
        canceled = Operator(redis).cancel_unfinished(found[0].id) if cancel_jobs else None
    stopped = f"; canceled {canceled.queued} queued and {canceled.running} running jobs" if canceled else ""
    typer.echo(f"{found[0].id} is revoked{stopped}")


def _scopes(names: list[str] | None) -> tuple[Scope, ...]:
    wanted = tuple(scope for scope in SCOPES if scope in (names or SCOPES))
    if unknown := set(names or ()) - set(SCOPES):
        raise ValueError(f"unknown scope {', '.join(sorted(unknown))}; known are {', '.join(SCOPES)}")
    return wanted


def _state(key: ApiKey) -> str:
    if key.revoked_at:
        return "revoked"
    if key.expires_at is None:
        return "valid"
    until = f"{key.expires_at:%Y-%m-%d %H:%M}"
    return f"valid until {until}" if key.valid_at(datetime.now(UTC)) else f"expired {until}"
