"""Settings, read once per process from the environment; nothing else reads the environment.

Variables are STYLIZE_*. Those of one process carry its name (STYLIZE_GATEWAY_*, STYLIZE_WORKER_*, STYLIZE_SWEEPER_*,
STYLIZE_CLIENT_*), so that one environment file serves all of them. For secrets, NAME_FILE instead of NAME names a file
with the value.
"""

import os
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, ValidationError, field_validator
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from workers.contract.errors import Misconfigured
from workers.contract.runtime.setting_faults import closest_name, describe_fault

PREFIX = "STYLIZE_"
FILE = "_FILE"
PROCESSES = ("GATEWAY", "WORKER", "SWEEPER", "CLIENT")


class Settings(BaseSettings):
    """What every process needs to know: where Redis and the blobs are, and the rules of the job protocol."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="forbid")
    process: ClassVar[str] = ""

    redis_url: str = Field("redis://127.0.0.1:6379/0", description="Redis for jobs; noeviction and AOF are verified")
    redis_allow_volatile: bool = Field(False, description="accept a Redis without AOF or noeviction: jobs may be lost")
    blob_url: str = Field("file:./data/blobs", description="file:PATH or s3://BUCKET[/PREFIX]")
    s3_endpoint_url: str | None = Field(None, description="endpoint of an S3 server other than AWS")
    s3_region: str = Field("us-east-1", description="region of the S3 bucket")
    model_dir: Path = Field(Path("data/models"), description="folder of the model store")
    models: Annotated[tuple[str, ...], NoDecode] = Field(
        (), description="base models this host serves, separated by commas; the first is the default"
    )
    data_dir: Path | None = Field(
        None, description="folder of a `stylize up`, for it and for the commands beside it; default: ./data"
    )
    lease_seconds: float = Field(30.0, gt=0.2, le=3600, description="a silent worker loses its job after this long")
    max_attempts: int = Field(3, ge=1, le=100, description="a job that ends its worker this often fails as poison")
    max_queued: int = Field(1000, ge=1, le=1_000_000, description="jobs waiting before new ones are refused with 429")
    retention_hours: float = Field(
        24.0,
        ge=1e-6,
        le=876_000,
        description="finished jobs and their pictures are kept this long; by `stylize up` a year unless this is set",
    )

    log_format: Literal["text", "json"] = Field("text", description="text for people, json for machines")
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="the least that is logged")
    tracing: bool = Field(
        False, description="send traces by OTLP over HTTP, as the OTEL_* variables say; needs the extra `tracing`"
    )

    @field_validator("models", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return tuple(filter(None, (part.strip() for part in value.split(",")))) if isinstance(value, str) else value

    @classmethod
    def read(cls) -> Self:
        """Return the settings of this process; an empty value leaves a setting without a default unset.

        Raises Misconfigured naming each unknown or malformed variable and each file that cannot be read.
        """
        known = {f"{PREFIX}{name}".upper(): name for name in cls.model_fields}
        others = tuple(f"{PREFIX}{process}_" for process in PROCESSES if process != cls.process)
        ours = [name for name in os.environ if name.upper().startswith(PREFIX) and not name.upper().startswith(others)]
        if unknown := sorted(name for name in ours if name.upper().removesuffix(FILE) not in known):
            raise Misconfigured(f"unknown setting {', '.join(cls._name_unknown(name) for name in unknown)}")
        files = [name for name in ours if name.upper().endswith(FILE)]
        empty = [known[name.upper()] for name in ours if os.environ[name] == "" and name.upper() in known]
        values: dict[str, Any] = {
            name: field.get_default(call_default_factory=True)
            for name in empty
            if (field := cls.model_fields[name]).default in (None, ()) or field.default_factory is not None
        }
        values |= {known[name.upper().removesuffix(FILE)]: _content(name) for name in files}
        try:
            return cls(**values)
        except ValidationError as invalid:
            raise Misconfigured("; ".join(cls._describe(fault) for fault in invalid.errors())) from invalid

    @classmethod
    def _describe(cls, fault: ErrorDetails) -> str:
        if not fault["loc"]:
            return describe_fault(fault, None)
        name = str(fault["loc"][0])
        return f"{PREFIX}{name}".upper() + f": {describe_fault(fault, cls.model_fields[name])}"

    @classmethod
    def _name_unknown(cls, name: str) -> str:
        meant = name.upper().removeprefix(PREFIX).removesuffix(FILE)
        near = closest_name(meant, (field.upper() for field in cls.model_fields), cls.process)
        return f"{name} (did you mean {PREFIX}{near}?)" if near else name


def _content(variable: str) -> str:
    """Return what stands in the file that a variable names. Raises Misconfigured."""
    beside = variable.upper().removesuffix(FILE)
    if any(value for name, value in os.environ.items() if name.upper() == beside):
        raise Misconfigured(f"both {variable} and {variable[: -len(FILE)]} are set: keep one")
    try:
        return Path(os.environ[variable]).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as fault:
        raise Misconfigured(f"{variable}: cannot read {os.environ[variable]}: {fault}") from fault
