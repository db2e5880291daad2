"""Signal leak: colour, tone and large-scale layout of a style through the initial latent. No training."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from model_store.catalogue.entry import Base
from workers.contract.spec import VAE_FACTOR, Cost, Defaults, Inputs, ModelName, Paper, Params, Spec

Coordinate = tuple[Annotated[int, Field(ge=0, le=511)], Annotated[int, Field(ge=0, le=511)]]
Level = Annotated[float, Field(ge=-4, le=4)]


class SignalLeakParams(Params):
    """Knobs of signal-leak."""

    single_reference: Literal["palette", "layout", "low-frequency"] = Field(
        "palette",
        description="what one style image gives: its colours and contrast; its whole layout; or its layout at low "
        "frequencies only (n_components of them)",
    )
    statistic_type: Literal["pixel", "dct+pixel"] = Field(
        "pixel", description="how several style images are measured; dct+pixel is for square pictures"
    )
    n_components: int = Field(3, ge=1, le=64, description="low frequencies measured jointly (dct+pixel, low-frequency)")
    dct_indices: tuple[Coordinate, ...] | None = Field(
        None, description="the frequencies themselves as [row, column]; default: the n_components lowest"
    )
    only_hf: bool = Field(False, description="dct+pixel: leave the low frequencies out, so that colour is free")
    channel: int | None = Field(None, ge=0, le=15, description="latent channel that `value` is added to")
    value: Level = Field(0.0, description="constant added to the leak's `channel`: the manual colour control")
    color: tuple[Level, ...] | None = Field(None, max_length=16, description="a constant for every latent channel")
    leak_scale: float = Field(1.0, ge=0, le=3, description="the leak at strength 1; 1 is the paper's")
    statistics: ModelName | None = Field(
        None, description="installed statistics of a style set, in place of style images"
    )
    sampler: Literal["ddim", "dpm++", "euler", "pndm", "unipc"] = "ddim"

    @model_validator(mode="after")
    def _agreeing(self) -> Self:
        if self.value and self.channel is None:
            raise ValueError("value needs a channel")
        if self.dct_indices is not None and len(set(self.dct_indices)) != len(self.dct_indices):
            raise ValueError("dct_indices repeats a frequency")
        return self

    def measures_frequencies(self, references: int) -> bool:
        """Return whether so many style images are measured by their frequencies."""
        if self.statistics is not None or not self.leak_scale:
            return False
        return self.single_reference == "low-frequency" if references == 1 else self.statistic_type == "dct+pixel"

    def size_fault(self, width: int, height: int, *, base: Base, references: int) -> str:
        """Return why the frequencies cannot be measured at a size."""
        if not self.measures_frequencies(references):
            return ""
        if width != height:
            return "DCT statistics need square pictures; use pixel statistics, palette or layout"
        side = width // VAE_FACTOR
        beyond = any(max(coordinate) >= side for coordinate in self.dct_indices or ())
        return f"params.dct_indices must be below {side} at this size" if beyond else ""


SPEC = Spec(
    name="signal-leak",
    family="prior-noise",
    version=1,
    title="Signal leak",
    brief="Takes palette and brightness of your pictures, not their strokes or texture: costs no extra time.",
    summary="Starts from noise that carries the palette, tone or large-scale layout of the style images. Costs nothing "
    "per step. It is a bias of palette and tone, not a transfer of strokes or texture: only low frequencies survive.",
    paper=Paper(
        title="Exploiting the Signal-Leak Bias in Diffusion Models",
        authors="Everaert, Fitsios, Bocchio, Arpa, Süsstrunk, Achanta",
        venue="WACV 2024, pp. 4025-4034",
        url="https://arxiv.org/abs/2309.15842",
    ),
    inputs=Inputs(driven_by="text", references=(1, 4), instead_of_references="statistics"),
    params=SignalLeakParams,
    bases={
        "sd15": Defaults(width=512, height=512, steps=30, guidance_scale=7.5),
        "sdxl": Defaults(width=1024, height=1024, steps=30, guidance_scale=5.0),
    },
    cost=Cost(row_passes=2.0),
    strength="The leak is multiplied by k = strength * params.leak_scale before it is mixed with noise; the noise is "
    "not rescaled. k = 1 is the paper's, k up to 3 is allowed; strength 0 is plain text-to-image exactly.",
    main_parameters={
        "single_reference": "What one picture gives: its colours, its whole layout, or its rough layout.",
        "leak_scale": "How much of it at full strength.",
    },
    rights="Written from the published formulas; no code of the authors is used. Their code (IVRL/signal-leak-bias) is "
    "under an academic non-commercial licence. Related work of the same authors (Diffusion in Style) is the subject of "
    "patent filing PCT/EP2023/065063 and US application US 2026/0187866 A1, whose abstract covers obtaining a "
    "style-specific noise distribution from style images; its project page says use is licensed by Largo.ai. An "
    "operator can switch the method off.",
)
