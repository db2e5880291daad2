"""What the catalogue says about one model. Pydantic only: the gateway reads it without torch."""

import re
from collections.abc import Mapping
from pathlib import PurePosixPath
from types import MappingProxyType
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

Base = Literal["sd15", "sdxl", "flux", "flux-schnell", "flux-fill", "flux-control", "flux2-klein", "flux2-klein-base"]
"""The architectures. flux2-klein is distilled to few steps without guidance, flux2-klein-base is not."""
Kind = Literal[
    "base",
    "vae",
    "image-encoder",
    "text-encoder",
    "ip-adapter",
    "controlnet",
    "lora",
    "style",
    "technique",
    "auxiliary",
]
Origin = Literal["hub", "shipped", "added"]

PROMPT_TOKENS: Mapping[Base, int] = MappingProxyType(
    {
        "sd15": 75,
        "sdxl": 75,
        "flux": 511,
        "flux-schnell": 255,
        "flux-fill": 511,
        "flux-control": 511,
        "flux2-klein": 500,
        "flux2-klein-base": 500,
    }
)
"""How many tokens of a text the text encoder of an architecture reads that reads most; on FLUX, T5 by default.

FLUX.2's 512 hold the chat template, too.
"""
SIZE_MULTIPLES: Mapping[Base, int] = MappingProxyType(
    {
        "sd15": 8,
        "sdxl": 8,
        "flux": 16,
        "flux-schnell": 16,
        "flux-fill": 16,
        "flux-control": 16,
        "flux2-klein": 16,
        "flux2-klein-base": 16,
    }
)
"""What width and height of a picture must be multiples of, in pixels."""

_GLOB = re.compile(r"[*?\[]")


def safe_path(path: str) -> str:
    """Return `path` unchanged if it stays inside the folder it is joined to. Raises ValueError otherwise."""
    parts = PurePosixPath(path).parts
    if not parts or path.startswith("/") or path.endswith("/") or "\\" in path or "\0" in path:
        raise ValueError(f"{path!r} is no relative file path")
    if any(part.startswith(".") for part in parts) or "//" in path:
        raise ValueError(f"{path!r} leaves its folder or names a hidden file")
    return path


SafePath = Annotated[str, AfterValidator(safe_path), Field(max_length=300)]
ModelId = Annotated[str, Field(pattern=r"^[a-z0-9]+([._-][a-z0-9]+)*$", max_length=64)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class DeclaredEntry(BaseModel):
    """Immutable data; unknown keys refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Licence(DeclaredEntry):
    """On which terms a model may be used."""

    name: str
    url: str | None = None
    gated: bool = False
    """The terms must be accepted on the hub, and a token given, before it can be fetched."""
    non_commercial: bool = False
    notice: str = ""


class WantedFile(DeclaredEntry):
    """One file of a model, or a pattern of files, as the source names it."""

    path: SafePath
    """Path in the repository; `*` matches inside one folder. Patterns are resolved and pinned at the first pull."""
    save_as: SafePath | None = None
    """Path in the store when it is not the same."""
    sha256: Sha256 | None = None
    """Digest when it is known beforehand; otherwise the first pull pins it."""
    about_mb: float = Field(0.0, ge=0.0)
    """Rough size in MB (10^6 bytes) for people; the exact size is asked from the source and pinned."""
    convert: str | None = None
    """Key map by which this pickled file becomes the safetensors file `save_as`."""

    @property
    def is_pattern(self) -> bool:
        """Return whether `path` stands for several files."""
        return bool(_GLOB.search(self.path))

    @property
    def target(self) -> str:
        """Return the path in the store, below the model's folder."""
        return self.save_as or self.path

    @model_validator(mode="after")
    def _consistent(self) -> "WantedFile":
        if self.convert is not None and not (self.save_as or "").endswith(".safetensors"):
            raise ValueError(f"{self.path}: a converted file is saved as .safetensors")
        if self.is_pattern and self.save_as is not None and self.convert is None:
            raise ValueError(f"{self.path}: a pattern keeps its names")
        return self


class Entry(DeclaredEntry):
    """One model of the catalogue."""

    id: ModelId
    kind: Kind
    title: str
    base: Base | None = None
    """The architecture it is or fits; none when it fits several, or none of ours."""
    native_size: int | None = Field(None, ge=64, le=2048, multiple_of=8)
    """Pixels along a side of the square pictures that a base model was trained on."""
    origin: Origin = "hub"
    """Where its files come from: the hub or a mirror, this package, the operator's own files."""
    folder: SafePath | None = None
    """Where it lies below this package when it is shipped."""
    evaluation: SafePath | None = None
    """Where a shipped model's figures of `stylize eval` lie, below this package."""
    repository: str | None = None
    revision: str = "main"
    """A commit, or a branch that the first pull resolves to a commit and pins."""
    files: tuple[WantedFile, ...] = ()
    licence: Licence = Licence(name="unknown")
    served: bool = Field(True, exclude_if=lambda served: served is True)
    """Whether anything of this release can use it."""
    techniques: tuple[str, ...] = ()
    """Methods that need it beside a base model."""
    requires: tuple[ModelId, ...] = ()
    """Entries that must be installed with it."""
    notes: str = ""
    """What people who choose it ought to know."""
    knows: tuple[str, ...] = ()
    """The things that a demonstration model can draw; none where it draws whatever it is asked for."""

    @property
    def about_mb(self) -> float:
        """Return the rough size of its files in MB (10^6 bytes)."""
        return sum(file.about_mb for file in self.files)

    @model_validator(mode="after")
    def _consistent(self) -> "Entry":
        if self.kind == "base" and self.base is None and self.origin != "hub":
            raise ValueError(f"{self.id}: a base model names its architecture")
        if self.origin == "hub" and (self.repository is None or not self.files):
            raise ValueError(f"{self.id}: repository and files are needed")
        if (self.origin == "shipped") != (self.folder is not None):
            raise ValueError(f"{self.id}: shipped models name their folder, others do not")
        return self
