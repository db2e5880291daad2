"""The pictures of a job: fetched, checked, written."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

from .errors import StylizeError
from .http import HTTPRequest, Operation, build_path, get_query, send
from .models import JobView

SUFFIXES = {"image/png": "png", "image/jpeg": "jpg", "image/webp": "webp"}


def fetch_pictures(job: JobView) -> Operation[list[bytes]]:
    """Fetch the pictures of a job. Raises StylizeError when one arrives damaged."""
    found = []
    for number, image in enumerate(job.images):
        request = HTTPRequest("GET", build_path("jobs", job.id, "images", number), query=get_query(image.url))
        response = yield from send(request)
        if hashlib.sha256(response.content).hexdigest() != image.sha256:
            raise StylizeError(f"picture {number} of job {job.id} arrived damaged")
        found.append(response.content)
    return found


def write_pictures(job: JobView, pictures: Sequence[bytes], folder: Path) -> list[Path]:
    """Write the pictures of a job to a folder; return where they are."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for number, (image, content) in enumerate(zip(job.images, pictures, strict=True)):
        target = folder / f"{job.id}-{number}.{SUFFIXES.get(image.content_type, 'bin')}"
        target.write_bytes(content)
        written.append(target)
    return written
