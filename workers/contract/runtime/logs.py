"""The log of every process: one line per event on stderr, for people or as JSON. Never a prompt, never a secret."""

import logging
import re
import sys
from typing import Any, TextIO

from pythonjsonlogger.json import JsonFormatter

from workers.contract.runtime.settings import Settings

SECRETS = re.compile(r"(?<=://)[^\s/@]+(?=@)|(?<=\bBearer )\S+|(?<=[?&]signature=)[^\s&]+", re.IGNORECASE)
HIDDEN = "***"
ACCESS = ("request_id", "method", "route", "status", "seconds", "bytes", "key")
"""What a JSON line tells of a request that the gateway answered; `key` is the name of the caller's key."""
FIELDS = ("time", "level", "process", "logger", "message", "job_id", "error", *ACCESS)
"""What a JSON line may tell; `job_id` and `error` where there is one."""


def configure(process: str, settings: Settings, stream: TextIO | None = None) -> None:
    """Send everything that this process logs to `stream` (stderr), as the settings say."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonLines(process) if settings.log_format == "json" else Plain(process))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(settings.log_level.upper())


def job_fields(job_id: str) -> dict[str, str]:
    """Return the `extra` of a log call about a job."""
    return {"job_id": job_id}


def redacted(text: str) -> str:
    """Return the text without passwords in addresses, bearer keys and signatures."""
    return SECRETS.sub(HIDDEN, text)


class Plain(logging.Formatter):
    """Lines for people."""

    def __init__(self, process: str) -> None:
        super().__init__(f"%(asctime)s %(levelname)s {process} %(name)s %(message)s")

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, redacted."""
        return redacted(super().format(record))


class JsonLines(JsonFormatter):
    """One JSON object per line, of FIELDS only: what libraries add to their own records may be a caller's."""

    def __init__(self, process: str) -> None:
        super().__init__(
            ("levelname", "name", "message"),
            rename_fields={"levelname": "level", "name": "logger", "exc_info": "error"},
            static_fields={"process": process},
            timestamp="time",
            json_ensure_ascii=False,
        )

    def process_log_record(self, log_data: dict[str, Any]) -> dict[str, Any]:
        """Return the fields of a line, redacted."""
        line = {name: log_data[name] for name in FIELDS if name in log_data}
        line["level"] = line["level"].lower()
        return {name: redacted(value) if isinstance(value, str) else value for name, value in line.items()}
