"""What is logged, for people and machines, and what never is."""

import io
import json
import logging
from collections.abc import Iterator

import pytest

from workers.contract.runtime import logs
from workers.contract.runtime.settings import Settings

SECRETS = [
    ("redis://:pass-word@redis:6379/0 is away", "pass-word"),
    ("rediss://user:pass-word@redis is away", "pass-word"),
    ("Authorization: Bearer pass-word", "pass-word"),
    ("GET /jobs/a/images/0?expires=1&signature=abcdef", "abcdef"),
]


@pytest.fixture
def _own_root() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:], root.level = handlers, level


def logged(log_format: str, message: str, level: str = "info", **more: object) -> str:
    stream = io.StringIO()
    settings = Settings(log_format=log_format, log_level=level)  # type: ignore[arg-type]
    logs.configure("worker", settings, stream)
    logging.getLogger("a.b").info(message, **more)  # type: ignore[arg-type]
    return stream.getvalue()


@pytest.mark.usefixtures("_own_root")
class TestLogs:
    def test_json_lines_carry_the_job(self) -> None:
        line = logged("json", "job 1 went\nwell", extra=logs.job_fields("1"))
        assert line.count("\n") == 1
        found = json.loads(line)
        assert found.pop("time").endswith("+00:00")
        assert found == {
            "level": "info",
            "process": "worker",
            "logger": "a.b",
            "message": "job 1 went\nwell",
            "job_id": "1",
        }

    def test_json_lines_carry_the_error(self) -> None:
        try:
            raise ValueError("redis://:pass-word@redis")
        except ValueError:
            found = json.loads(logged("json", "failed", exc_info=True))
        assert "ValueError: redis://***@redis" in found["error"]

    def test_what_libraries_add_to_their_records_is_not_told(self) -> None:
        line = logged("json", "Task received", extra={"data": {"args": "a prompt"}, "hostname": "a-prompt"})
        assert json.loads(line).keys() == {"time", "level", "process", "logger", "message"}
        assert "prompt" not in line

    @pytest.mark.parametrize("log_format", ["json", "text"])
    @pytest.mark.parametrize(("message", "secret"), SECRETS)
    def test_secrets_are_hidden(self, log_format: str, message: str, secret: str) -> None:
        line = logged(log_format, message)
        assert secret not in line
        assert "***" in line

    def test_text_is_one_plain_line(self) -> None:
        assert logged("text", "hello").endswith(" INFO worker a.b hello\n")

    def test_the_level_is_heeded(self) -> None:
        assert logged("text", "hello", level="warning") == ""
