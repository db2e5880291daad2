"""The pictures of a job: fetched, checked, written."""

import hashlib
from collections.abc import Sequence
from itertools import chain, count
from pathlib import Path

from .errors import StylizeError
from .file_names import build_file_name
from .http import HTTPRequest, Operation, build_path, get_query, send
from .models import JobView


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


def write_pictures(job: JobView, pictures: Sequence[bytes], folder: Path, name: str, first: int) -> list[Path]:
    """Write the pictures of a job to a folder, named by a template, `n` from `first`; return where they are.

    A file that is there with other content stays: the new one gets a number behind its name. Raises ValueError.
    """
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for index, (image, content) in enumerate(zip(job.images, pictures, strict=True)):
        told = {"prompt": getattr(job.recipe, "prompt", ""), "method": job.method, "model": job.model, "job": job.id}
        file = build_file_name(name, image.content_type, n=first + index, index=index, seed=image.seed, **told)
        target = free_path(folder / file, content)
        target.write_bytes(content)
        written.append(target)
    return written


def free_path(wanted: Path, content: bytes) -> Path:
    """Return the path, or one with a number behind its name where another file is."""
    numbered = (wanted.with_name(f"{wanted.stem}-{n}{wanted.suffix}") for n in count(2))
    return next(path for path in chain([wanted], numbered) if not path.exists() or path.read_bytes() == content)
