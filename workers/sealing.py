"""Whether pictures are signed, as the settings say; the libraries that sign are imported only then."""

from collections.abc import Callable
from importlib import import_module

from workers.contract.errors import Misconfigured
from workers.settings import WorkerSettings

Seal = Callable[[bytes, str], bytes]
"""Returns a picture file of a content type with content credentials."""


def open_seal(settings: WorkerSettings) -> Seal | None:
    """Return what signs pictures, None when no certificate is configured. Raises Misconfigured."""
    if not settings.worker_c2pa_certificate and not settings.worker_c2pa_key:
        return None
    try:
        credentials = import_module("workers.credentials")
    except ModuleNotFoundError as missing:
        raise Misconfigured(
            f"STYLIZE_WORKER_C2PA_CERTIFICATE is set, but {missing.name} is not installed: "
            "pip install 'stylize[credentials]'"
        ) from missing
    seal: Seal = credentials.seal_of(settings)
    return seal
