"""Parameters of methods that paint under a mask, or around a picture. Pydantic only: the gateway reads it."""

from collections.abc import Collection, Mapping

from pydantic import Field

from model_store.catalogue.entry import Base
from workers.contract.spec import Params, Size

PLACE = "params.left and params.top, to paint around the content image"


class OutpaintParams(Params):
    """Where the content image stands when what is around it is painted."""

    left: int | None = Field(
        None, ge=0, le=4096, description="outpainting: where the content image stands on the picture, in pixels"
    )
    top: int | None = Field(None, ge=0, le=4096, description="outpainting: its distance from the top, in pixels")
    overlap: int = Field(
        8, ge=0, le=64, description="outpainting: pixels of the content image's edge that are painted anew"
    )

    @property
    def outpaints(self) -> bool:
        """Whether what is around the content image is painted, and not what is under a mask."""
        return self.left is not None or self.top is not None

    def input_faults(self, given: Collection[str], *, base: Base) -> Mapping[str, str]:
        """Return faults unless there is a content image, and a mask or a place for it."""
        faults = {} if "content_image" in given else {"#/content_image": "is required"}
        if self.outpaints and "mask_image" in given:
            faults["#/mask_image"] = f"give a mask, or {PLACE}, not both"
        if not self.outpaints and "mask_image" not in given:
            faults["#/mask_image"] = f"is required: what is white in it is repainted; or give {PLACE}"
        return faults

    def content_fault(self, content: Size, canvas: Size) -> str:
        """Return why a content image cannot stand where it is to; empty when it can."""
        left, top = self.left or 0, self.top or 0
        if not self.outpaints or (left + content[0] <= canvas[0] and top + content[1] <= canvas[1]):
            return ""
        return (
            f"of {content[0]}x{content[1]} pixels at left {left}, top {top} does not fit into {canvas[0]}x{canvas[1]}"
        )
