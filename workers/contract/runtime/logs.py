"""The log of every process: one line per event on stderr, for people or as JSON. Never a prompt, never a secret."""

import json
import logging
import re
import sys
from datetime import UTC, datetime
from typing import Any, TextIO

from workers.contract.runtime.settings import Settings

SECRETS = re.compile(r"(?<=://)[^\s/@]+(?=@)|(?<=\bBearer )\S+|(?<=[?&]signature=)[^\s&]+", re.IGNORECASE)
HIDDEN = "***"


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


class JsonLines(logging.Formatter):
    """One JSON object per line: time, level, process, logger, message; job_id and error where there is one."""

    def __init__(self, process: str) -> None:
        super().__init__()
        self._process = process

    def format(self, record: logging.LogRecord) -> str:
        """Return the object, redacted."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, tz=UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "process": self._process,
            "logger": record.name,
            "message": redacted(record.getMessage()),
        }
        if (job_id := getattr(record, "job_id", None)) is not None:
            line["job_id"] = job_id
        if record.exc_info:
            line["error"] = redacted(self.formatException(record.exc_info))
        return json.dumps(line, ensure_ascii=False)
