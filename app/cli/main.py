"""The command `stylize`."""

from pathlib import Path
from typing import Annotated

import typer

from app.cli import backup, compare, doctor, evaluate, jobs, keys, run, series, styles
from app.cli.beside import DEFAULT, read_settings
from app.observability.metrics import own_version
from model_store import cli as models
from workers.contract.errors import Misconfigured
from workers.contract.runtime.settings import Settings


def store_of(data_dir: Path | None) -> Path:
    """Return the folder of the model store, of a `stylize up` where one runs or is named."""
    return read_settings(Settings, data_dir).model_dir


app = typer.Typer(name="stylize", no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
app.add_typer(keys.create(), name="keys")
app.add_typer(models.create(lambda: store_of(None), store_of), name="models")
app.add_typer(jobs.create(), name="jobs")
app.add_typer(styles.create(), name="styles")
app.command(name="backup")(backup.back_up)
app.command(name="restore")(backup.restore)
app.command()(run.run)
app.command()(compare.compare)
app.command()(series.series)
app.command(name="doctor")(doctor.examine)
app.command(name="eval", context_settings=evaluate.FORWARDED)(evaluate.evaluate)


def show_version(wanted: bool) -> None:
    """Write the version and end, when it is asked for. Raises typer.Exit."""
    if wanted:
        typer.echo(f"stylize {own_version()}")
        raise typer.Exit


@app.callback()
def stylize(
    version: Annotated[
        bool, typer.Option("--version", help="show the version and end", callback=show_version, is_eager=True)
    ] = False,
) -> None:
    """Reference-image stylization, self-hosted."""


@app.command()
def up(
    host: Annotated[str, typer.Option(envvar="STYLIZE_GATEWAY_HOST", help="address to listen on")] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(envvar="STYLIZE_GATEWAY_PORT", min=1, max=65535, help="port to listen on")
    ] = 8000,
    data_dir: Annotated[
        Path, typer.Option(envvar="STYLIZE_DATA_DIR", help="folder for jobs, pictures and models")
    ] = DEFAULT,
    workers: Annotated[int, typer.Option(min=1, max=64, help="worker processes")] = 1,
) -> None:
    """Run everything on this machine: Redis, gateway, sweeper and workers. Ctrl-C ends all.

    Jobs and their pictures are kept for a year once they are final, or for STYLIZE_RETENTION_HOURS.
    """
    from deploy.embedded import stack

    raise typer.Exit(stack.up(host, port, data_dir, workers))


def main() -> None:
    """Run the command line; a setting that is not as it must be is one line and exit status 2."""
    try:
        app()
    except Misconfigured as fault:
        typer.echo(f"stylize: {fault}", err=True)
        raise SystemExit(2) from fault


if __name__ == "__main__":
    main()
