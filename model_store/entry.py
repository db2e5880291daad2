"""What the catalogue says about one downloadable thing. Pydantic only: the gateway reads it without torch."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Base = Literal["sd15", "sdxl"]
Kind = Literal[
    "base", "vae", "image-encoder", "text-encoder", "ip-adapter", "controlnet", "lora", "technique", "auxiliary"
]


class Declared(BaseModel):
    """Immutable data of an entry; unknown keys refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Entry(Declared):
    """One model of the catalogue."""

    id: Annotated[str, Field(pattern=r"^[a-z0-9]+([.-][a-z0-9]+)*$", max_length=64)]
    kind: Kind
    title: str
    base: Base | None = None
    """The architecture it is or fits; none when it fits several or none."""
    origin: Literal["hub", "shipped", "built", "added"] = "hub"
    """Where its files come from: the hub (or a mirror), this package, a builder of ours, the operator's own files."""
