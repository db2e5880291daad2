"""What `stylize up` gives its processes: addresses in its data folder, and defaults for what no setting names."""

from collections.abc import Mapping
from pathlib import Path

from workers.contract.errors import Misconfigured

DEFAULT_MODEL = "starter"
MODEL_DIR = "STYLIZE_MODEL_DIR"
MODELS = "STYLIZE_MODELS"
METRICS_PORT = "STYLIZE_WORKER_METRICS_PORT"
ACCESS_LOG = "STYLIZE_GATEWAY_ACCESS_LOG"
RETENTION = "STYLIZE_RETENTION_HOURS"
KEEP_HOURS = "8760"
"""A year: on a machine of one's own yesterday's pictures are still there."""

PICTURES = "keeps its pictures in --data-dir"
NOT_OBEYED = {
    "STYLIZE_REDIS_URL": "runs a Redis of its own in --data-dir",
    "STYLIZE_BLOB_URL": PICTURES,
    "STYLIZE_S3_ENDPOINT_URL": PICTURES,
    "STYLIZE_S3_REGION": PICTURES,
    "STYLIZE_WORKER_ID": "names its workers itself",
    "STYLIZE_WORKER_GRACE_SECONDS": "gives its workers 3 seconds",
}
"""Settings of the processes that are the stack's own to give, and why."""
READ_HERE = (
    *("STYLIZE_GATEWAY_HOST", "STYLIZE_GATEWAY_PORT", "STYLIZE_DATA_DIR"),
    *(MODEL_DIR, MODELS, RETENTION, METRICS_PORT, ACCESS_LOG),
)
"""Settings that the stack itself reads, under no other spelling and from no file."""


def check_environment(environ: Mapping[str, str]) -> None:
    """Raise Misconfigured for a setting that the stack would not obey."""
    for variable, reason in NOT_OBEYED.items():
        for name in _given_names(variable, environ):
            raise Misconfigured(f"{name} is set, but `stylize up` {reason}; remove it, or start the processes apart")
    for variable in READ_HERE:
        for name in _given_names(variable, environ):
            if name != variable:
                raise Misconfigured(f"{name} is set, but `stylize up` reads {variable} alone; set that")


def _given_names(variable: str, environ: Mapping[str, str]) -> list[str]:
    """Return the names by which a setting is set, in any case or as a file; an empty value sets none."""
    return [name for name in environ if name.upper() in (variable, f"{variable}_FILE") and environ[name]]


def build_environment(data: Path, redis_url: str, environ: Mapping[str, str]) -> dict[str, str]:
    """Return the settings of all processes of the stack that are its own, or have another default under it."""
    return {
        "STYLIZE_DATA_DIR": str(data),
        "STYLIZE_REDIS_URL": redis_url,
        "STYLIZE_BLOB_URL": f"file:{data / 'blobs'}",
        MODEL_DIR: environ.get(MODEL_DIR) or str(data / "models"),
        MODELS: environ.get(MODELS) or DEFAULT_MODEL,
        RETENTION: environ.get(RETENTION) or KEEP_HOURS,
        ACCESS_LOG: environ.get(ACCESS_LOG) or "false",  # the terminal is the owner's, whose page asks every second
    }
