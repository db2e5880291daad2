"""What all commands that talk to a service share: its address, and how errors become exit statuses.

0 done · 1 the job failed or was canceled · 2 wrong use, or the service refuses · 3 the service is away or busy ·
130 interrupted
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, ClassVar

import typer
from pydantic import Field, SecretStr, field_validator

from app.cli.beside import find_stack
from app.client import (
    LOCAL,
    Busy,
    Client,
    JobCanceled,
    JobFailed,
    NotDoneInTime,
    RequestRefused,
    ServiceAway,
    StylizeError,
    UnexpectedResponse,
)
from workers.contract.errors import Misconfigured
from workers.contract.runtime.command_line import command_line
from workers.contract.runtime.settings import Settings

FAILED, REFUSED, AWAY, INTERRUPTED = 1, 2, 3, 130
STATUSES: dict[type[StylizeError], int] = {
    JobFailed: FAILED,
    JobCanceled: FAILED,
    NotDoneInTime: FAILED,
    Busy: AWAY,
    ServiceAway: AWAY,
    UnexpectedResponse: REFUSED,
    RequestRefused: REFUSED,
}
EXIT_STATUSES = (
    "Exit status: 0 done, 1 the job failed or was canceled, 2 wrong use or refused, 3 the service is away or busy, "
    "130 interrupted."
)

Url = Annotated[
    str | None,
    typer.Option(
        help=f"address of the service (default: STYLIZE_CLIENT_URL, else that of a running `stylize up`, else {LOCAL})",
        metavar="URL",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="write the answer as JSON to stdout and nothing else")]


class ClientSettings(Settings):
    """Settings of the commands that talk to a service."""

    process: ClassVar[str] = "CLIENT"

    client_url: str = Field(LOCAL, description="address of the service")
    client_key: SecretStr | None = Field(None, description="API key, if the service wants one")

    @field_validator("client_url")
    @classmethod
    def _is_address(cls, url: str) -> str:
        if not url.startswith(("http://", "https://")):
            raise ValueError("must begin with http:// or https://, such as http://127.0.0.1:8000")
        return url


def find_service(url: str | None, data_dir: Path | None, settings: ClientSettings) -> str:
    """Return the address: the option's, that of a named folder's stack, the setting's, that of a running stack.

    Raises Misconfigured when no stack runs in the named folder.
    """
    if url:
        return url
    set_by_environment = "client_url" in settings.model_fields_set
    running = None if set_by_environment and data_dir is None else find_stack(data_dir)
    if data_dir and running is None:
        raise Misconfigured(f"no `stylize up` runs in {data_dir}; start it: {command_line('up', data_dir=data_dir)}")
    return running.url if running and running.url else settings.client_url


@contextmanager
def connect(url: str | None, data_dir: Path | None = None) -> Iterator[Client]:
    """Give a client; tell its errors in a line each and end with their exit status. Raises typer.Exit."""
    settings = ClientSettings.read()
    key = settings.client_key.get_secret_value() if settings.client_key else None
    with Client(find_service(url, data_dir, settings), key=key) as client:
        try:
            yield client
        except KeyboardInterrupt as interrupt:
            raise typer.Exit(INTERRUPTED) from interrupt
        except StylizeError as fault:
            for line in lines(fault):
                typer.echo(f"stylize: {line}", err=True)
            raise typer.Exit(STATUSES.get(type(fault), FAILED)) from fault


def lines(fault: StylizeError) -> list[str]:
    """Return what to tell of an error."""
    if isinstance(fault, RequestRefused) and fault.errors:
        return [f"{error.get('pointer', '')[2:]}: {error.get('detail', '')}" for error in fault.errors]
    return [str(fault)]
