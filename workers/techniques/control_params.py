"""The parameters of every technique that takes a control picture. Pydantic only: the gateway reads it without torch."""

from typing import Literal, Self

from pydantic import Field, ValidationInfo, field_validator, model_validator

from workers.contract.spec import Params

ControlSource = Literal["given", "canny", "depth"]
DepthModel = Literal["depth-anything-v2-small", "depth-anything-large"]
DepthRange = Literal["minmax", "raw"]
MADE = ("canny", "depth")
"""The kinds of map that can be made of a picture."""
LOW_THRESHOLD = "canny: an edge goes on along pixels whose gradient is above this, below high_threshold"
HIGH_THRESHOLD = "canny: an edge begins where the gradient is above this; higher keeps fewer edges"


class ControlParams(Params):
    """What the control picture is a map of, and how the map is made of a photograph."""

    control_source: ControlSource = Field(
        "given",
        description="given: control_image is the map itself; canny, depth: it is a photograph, of which the map is "
        "made and kept with the job",
    )
    control: Literal["canny", "depth", "tile"] | None = Field(
        None, validate_default=True, description="kind of the map; default: control_source, when that makes one"
    )
    low_threshold: int = Field(100, ge=0, le=1000, description=LOW_THRESHOLD)
    high_threshold: int = Field(200, ge=0, le=1000, description=HIGH_THRESHOLD)
    depth_model: DepthModel = Field(
        "depth-anything-v2-small", description="depth: the model that looks for it; large is what FLUX.1 Depth saw"
    )
    depth_range: DepthRange = Field(
        "minmax",
        description="depth: minmax spreads the depths of the picture from black to white, near is white; raw takes "
        "them as they are, which suits depth-anything-large alone",
    )

    @field_validator("control")
    @classmethod
    def _complete(cls, given: str | None, info: ValidationInfo) -> str | None:
        """Return the kind of the map: what is made, where none is named."""
        source = info.data.get("control_source")
        return source if given is None and source in MADE else given

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.control_source not in ("given", self.control):
            raise ValueError(f"control_source {self.control_source} makes no map of kind {self.control}")
        if self.low_threshold > self.high_threshold:
            raise ValueError(f"low_threshold {self.low_threshold} is above high_threshold {self.high_threshold}")
        return self
