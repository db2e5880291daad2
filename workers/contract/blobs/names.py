"""The names of blobs, and which names are allowed.

inputs/<sha[:2]>/<sha>.png          an input picture, named by its content
jobs/<id>/<token>/<n>.<format>      a picture made by the attempt with that token
jobs/<id>/<token>/control-map.png   the map that the attempt made of the control picture
jobs/<id>/<token>/manifest.json     what that attempt made
jobs/<id>/<token>/sheet-<tag>.png   the contact sheet of the comparison whose first job that is
"""

import re
from typing import Annotated, Literal

from pydantic import Field

from workers.contract.errors import BlobError

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
OutputFormat = Literal["png", "jpeg", "webp"]
INPUTS = "inputs/"
JOBS = "jobs/"
_PART = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,127}")
_INPUT = re.compile(r"inputs/[0-9a-f]{2}/([0-9a-f]{64})\.png")
_OUTPUT = re.compile(r"jobs/([A-Za-z0-9_-]+)/([0-9]+)/[^/]+")


def input_name(sha256: Sha256) -> str:
    """Return the name of an input picture."""
    return checked(f"{INPUTS}{sha256[:2]}/{sha256}.png")


def output_name(job_id: str, token: int, n: int, output_format: OutputFormat) -> str:
    """Return the name of the n-th picture of an attempt."""
    return checked(f"{job_prefix(job_id)}{token}/{n}.{output_format}")


def control_map_name(job_id: str, token: int) -> str:
    """Return the name of the map that an attempt made of the control picture."""
    return checked(f"{job_prefix(job_id)}{token}/control-map.png")


def manifest_name(job_id: str, token: int) -> str:
    """Return the name of the manifest of an attempt."""
    return checked(f"{job_prefix(job_id)}{token}/manifest.json")


def sheet_name(job_id: str, token: int, tag: str) -> str:
    """Return the name of the contact sheet of a comparison, kept with the first of its jobs that is still there."""
    return checked(f"{job_prefix(job_id)}{token}/sheet-{tag}.png")


def is_sheet(name: str) -> bool:
    """Return whether a blob of a job is a contact sheet."""
    return name.rpartition("/")[2].startswith("sheet")


def job_prefix(job_id: str) -> str:
    """Return what the names of all blobs of a job start with."""
    return f"{JOBS}{job_id}/"


def input_sha256(name: str) -> Sha256 | None:
    """Return the content's sha256 of an input's name; None for any other name."""
    found = _INPUT.fullmatch(name)
    return found[1] if found else None


def attempt_of(name: str) -> tuple[str, int] | None:
    """Return the job id and the token of an output's or manifest's name; None for any other name."""
    found = _OUTPUT.fullmatch(name)
    return (found[1], int(found[2])) if found else None


def checked(name: str) -> str:
    """Return the name. Raises BlobError unless it is a relative path of plain parts: no `..`, no hidden files."""
    if len(name) > 512 or not all(_PART.fullmatch(part) for part in name.split("/")):
        raise BlobError(f"not a blob name: {name[:80]!r}")
    return name
