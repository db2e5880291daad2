"""What both clients do around their HTTP."""

from pathlib import Path
from typing import Any

import httpx2

from app.client.operations import HTTPRequest
from app.schemas.job import JobView

LOCAL = "http://127.0.0.1:8000"
SUFFIXES = {"image/png": "png", "image/jpeg": "jpg", "image/webp": "webp"}


def unseen(_: JobView) -> None:
    """Take no notice."""


def save(job: JobView, pictures: list[bytes], folder: Path) -> list[Path]:
    """Write the pictures of a job to a folder; returns where they are."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for number, (image, content) in enumerate(zip(job.images, pictures, strict=True)):
        target = folder / f"{job.id}-{number}.{SUFFIXES[image.content_type]}"
        target.write_bytes(content)
        written.append(target)
    return written


def authorization(key: str | None) -> dict[str, str]:
    """Return the headers that a key asks for."""
    return {"Authorization": f"Bearer {key}"} if key else {}


def id_of(job: JobView | str) -> str:
    """Return the id of a job that was named by itself or its id."""
    return job if isinstance(job, str) else job.id


def arguments(call: HTTPRequest) -> dict[str, Any]:
    """Return what httpx2 wants of a call; a form is multipart also when it holds no file."""
    body = [*((name, (None, text.encode())) for name, text in call.fields.items()), *call.files]
    return {
        "method": call.verb,
        "url": call.path,
        "params": call.query,
        "headers": call.headers,
        "files": body or None,
    }


def unreachable(url: httpx2.URL, fault: httpx2.TransportError) -> bytes:
    """Return why there was no answer."""
    return f"no answer from {url}: {fault or type(fault).__name__}".encode()
