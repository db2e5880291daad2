"""`python -m app.cli.env_file`: every setting, explained, as .env.example; --write writes it, --check compares."""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import SecretStr
from pydantic.fields import FieldInfo

from app.settings import GatewaySettings
from workers.contract.runtime.settings import PREFIX, Settings
from workers.settings import WorkerSettings
from workers.sweeper import SweeperSettings

FILE = Path(__file__).parents[2] / ".env.example"
HEAD = """\
# Every setting of Stylize with its default; copy to .env and remove the # of what shall differ.
# Written by `python -m app.cli.env_file --write` from the settings classes: do not edit.
#
# NAME_FILE=/path instead of NAME=value reads the value from a file: for secrets.
# Keys for S3 come as boto3 takes them: AWS_SHARED_CREDENTIALS_FILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY.
"""
COMPOSE = """
# -- Docker Compose itself; see deploy/runbook.md

# which services run: cpu, or gpu, gpu2 ... gpu8, then s3, observability, alerts, dcgm
#COMPOSE_PROFILES=gpu,s3,observability
# further files: deploy/compose/outside-store.yml is for pictures or jobs kept on another host
#COMPOSE_FILE=docker-compose.yml
# address and port on which the gateway is published
#GATEWAY_PUBLISHED=127.0.0.1:8000
# address of this host on which share-stores.yml publishes Redis and s3 to other hosts
#STORES_ADDRESS=
# how alerts are sent: deploy/alertmanager/webhook.yml, slack.yml or a file of your own
#ALERTMANAGER_CONFIG=./deploy/alertmanager/webhook.yml
# where readers of an alert find the runbook, such as its page on your wiki
#RUNBOOK_URL=
# package index for building the images
#PIP_INDEX_URL=
# a further one, such as PyTorch's own for another CUDA; see docs/operating.md
#PIP_EXTRA_INDEX_URL=
"""


def text() -> str:
    """Return the whole file."""
    parts = [HEAD, *_section("All processes", Settings, set())]
    shared = set(Settings.model_fields)
    for title, settings in (
        ("The gateway", GatewaySettings),
        ("The workers", WorkerSettings),
        ("The sweeper", SweeperSettings),
    ):
        parts.extend(_section(title, settings, shared))
    return "\n".join(parts) + COMPOSE


def names() -> frozenset[str]:
    """Return every environment variable that some process reads."""
    fields = {name for settings in (GatewaySettings, WorkerSettings, SweeperSettings) for name in settings.model_fields}
    return frozenset(f"{PREFIX}{name}".upper() for name in fields)


def _section(title: str, settings: type[Settings], known: set[str]) -> Iterator[str]:
    yield f"# -- {title}\n"
    for name, field in settings.model_fields.items():
        if name not in known:
            yield f"# {field.description}\n#{PREFIX}{name.upper()}={_default(field)}\n"


def _default(field: FieldInfo) -> str:
    if field.annotation == SecretStr or field.default_factory is not None:
        return ""
    value: Any = field.default
    match value:
        case None | ():
            return ""
        case bool():
            return str(value).lower()
        case tuple():
            return ",".join(map(str, value))
        case _:
            return str(value)


def main() -> int:
    """Print, write or check the file; returns 1 when the check finds a difference."""
    parser = argparse.ArgumentParser(prog="python -m app.cli.env_file", description=__doc__)
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--check", action="store_true")
    arguments = parser.parse_args()
    if arguments.write:
        FILE.write_text(text(), encoding="utf-8")
    elif arguments.check:
        return int(FILE.read_text(encoding="utf-8") != text())
    else:
        sys.stdout.write(text())
    return 0


if __name__ == "__main__":
    sys.exit(main())
