"""Redux with FLUX.1 Fill: the style image beside the target on one canvas, or its tokens under a mask. No training."""

from collections.abc import Collection, Mapping
from typing import Literal

from pydantic import Field

from model_store.catalogue.entry import Base
from workers.contract.spec import Cost, Defaults, Inputs, Paper, Spec
from workers.techniques.outpaint_params import OutpaintParams


class ReduxFillParams(OutpaintParams):
    """Parameters of redux-fill."""

    layout: Literal["diptych", "tokens"] = Field(
        "diptych",
        description="diptych: the style image stands left of the target on a canvas of twice the width, which copies "
        "its rendering and, strongly, its subjects; tokens: only its tokens, under a mask or around a picture",
    )
    downsampling_factor: int = Field(1, ge=1, le=9, description="how much coarser the grid of the tokens becomes")
    max_sequence_length: int = Field(512, ge=1, le=512, description="tokens of the prompt, padding included")

    def guided(self, guidance_scale: float) -> bool:
        """Return False: `guidance_scale` is a number that the model takes."""
        return False

    def denoised_size(self, width: int, height: int) -> tuple[int, int]:
        """Return the size of the canvas: twice as wide where the style image stands on it."""
        return (2 * width, height) if self.layout == "diptych" else (width, height)

    def input_faults(self, given: Collection[str], *, base: Base) -> Mapping[str, str]:
        """Return faults of the pictures for the layout: a diptych may have none but the style image."""
        if self.layout == "tokens":
            return super().input_faults(given, base=base)
        if self.outpaints:
            return {"#/params/layout": "must be tokens with left and top: a diptych is not painted around a picture"}
        if "content_image" in given and "mask_image" not in given:
            return {"#/mask_image": "is required with a content image: what is white in it is repainted"}
        return {}


SPEC = Spec(
    name="redux-fill",
    family="encoder",
    version=1,
    title="FLUX.1 Redux with Fill",
    brief="Paints while looking at your picture: the closest copy of its rendering, and often of its subjects too.",
    summary="Lets the model see the style image itself beside the picture it paints: the closest copy of a rendering, "
    "subjects included. With a content image and a mask only the masked part is painted.",
    paper=Paper(
        title="FLUX.1 Redux and Fill",
        authors="Black Forest Labs",
        venue="2024",
        url="https://huggingface.co/black-forest-labs/FLUX.1-Redux-dev",
    ),
    inputs=Inputs(driven_by="text", references=(1, 1), content_image="optional", mask_image="optional"),
    params=ReduxFillParams,
    bases={"flux-fill": Defaults(width=768, height=768, steps=30, guidance_scale=30.0)},
    cost=Cost(row_passes=2.0),
    strength="The attention to the tokens of the style image is multiplied by strength squared; 0 leaves them out and "
    "greys the style image on the canvas.",
    main_parameters={
        "layout": "Diptych copies the rendering closely, tokens takes over less.",
        "downsampling_factor": "Higher takes over less of the style picture.",
    },
    rights="The weights of Redux and Fill are under the FLUX.1 [dev] Non-Commercial License. No code of Black Forest "
    "Labs is used.",
    weights=("flux1-redux",),
)
