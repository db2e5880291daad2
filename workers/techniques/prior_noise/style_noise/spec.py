"""Style noise: sampling from a style's own noise distribution with weights tuned for it."""

from typing import Literal

from pydantic import Field

from workers.contract.spec import Cost, Defaults, Inputs, ModelName, Paper, Params, Spec


class StyleNoiseParams(Params):
    """Knobs of style-noise."""

    style: ModelName | None = Field(
        None,
        description="the installed style: its statistics and the weights tuned with them. GET /models lists styles, "
        "`python -m workers.training.style_noise` trains one from 10 to 50 pictures, `stylize models add` installs it",
    )
    sampler: Literal["ddim", "dpm++", "euler", "pndm", "unipc"] = "ddim"


SPEC = Spec(
    name="style-noise",
    family="prior-noise",
    version=1,
    title="Style noise (Diffusion in Style)",
    brief="Draws in a style that was trained beforehand from 10 to 50 pictures: takes no style picture.",
    summary="Draws the starting noise from the style's own distribution and denoises with weights tuned for it. Takes "
    "no style image: a style is trained once from 10 to 50 pictures. Low guidance gives more style, high more content.",
    paper=Paper(
        title="Diffusion in Style",
        authors="Everaert, Bocchio, Arpa, Süsstrunk, Achanta",
        venue="ICCV 2023, pp. 2251-2261",
        url="https://ivrl.github.io/diffusion-in-style/",
    ),
    inputs=Inputs(driven_by="text", references=(0, 0), needs="style"),
    params=StyleNoiseParams,
    bases={
        "sd15": Defaults(width=512, height=512, steps=30, guidance_scale=4.0),
        "sdxl": Defaults(width=1024, height=1024, steps=30, guidance_scale=4.0),
    },
    cost=Cost(row_passes=2.0),
    strength="The noise is strength * mu + (1 - strength + strength * sigma) * e and the tuned change of the weights "
    "is multiplied by strength: 1 is the paper's, 0 is plain text-to-image exactly; between is our interpolation.",
    main_parameters={
        "style": "The trained style to draw in.",
    },
    rights="Written from the published formulas; the authors published no code and no weights, and the training recipe "
    "is ours. The project page says that the work matches patent filing PCT/EP2023/065063 and that use is licensed by "
    "Largo.ai; the abstract of US application US 2026/0187866 A1 covers obtaining a style-specific noise distribution "
    "from style images and adjusting the denoiser with it. An operator can switch the method off.",
)
