"""Orders and stores for the tests of instantstyle-plus."""

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from tests.parity.converted import converted
from tests.support.techniques.encoder_samples import WEIGHTS, adapter_of, inputs, picture
from workers.engine.errors import WeightsMissing
from workers.engine.technique import GenerationInputs, Pictures
from workers.techniques.encoder.instantstyle_plus.spec import InstantStylePlusParams
from workers.techniques.encoder.instantstyle_plus.technique import CONTROLNET

Installed = Callable[[str], Path]
CSD_PUBLISHED = WEIGHTS / "csd.pth"


@cache
def csd_file() -> Path:
    """Return the tiny descriptor as a pull leaves it."""
    return converted(CSD_PUBLISHED, "csd")


def store(tiny_root: Path) -> Installed:
    """Return a store in which the tiny weights are installed under the published ids."""
    files = {
        "ip-adapter-sdxl-vit-h": adapter_of("ip-adapter-sdxl"),
        "ip-adapter-plus-sdxl-vit-h": adapter_of("ip-adapter-plus-sdxl-vit-h"),
        "clip-vit-h": tiny_root / "clip-vision",
        CONTROLNET: WEIGHTS / "controlnet-tile-sdxl",
        "csd": csd_file(),
    }

    def weights(model: str) -> Path:
        if model not in files:
            raise WeightsMissing(model)
        return files[model]

    return weights


def asked(
    params: InstantStylePlusParams | None = None,
    *,
    style: int = 0,
    content: int = 7,
    size: tuple[int, int] = (64, 64),
    **more: Any,
) -> GenerationInputs:
    pictures = Pictures((picture(style),), picture(content, size))
    return inputs(params or InstantStylePlusParams(), pictures=pictures, **more)
