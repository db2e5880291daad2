"""A parity case: a folder with case.json, inputs.safetensors and expected.safetensors."""

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from PIL import Image
from safetensors.torch import load_file
from torch import Tensor


@dataclass(frozen=True)
class Case:
    """One case folder. `data_root` is the folder above `tiny-models`."""

    folder: Path
    data_root: Path

    @cached_property
    def facts(self) -> dict[str, Any]:
        return json.loads((self.folder / "case.json").read_text())

    @cached_property
    def inputs(self) -> dict[str, Tensor]:
        path = self.folder / "inputs.safetensors"
        return load_file(path) if path.exists() else {}

    @cached_property
    def expected(self) -> dict[str, Tensor]:
        return load_file(self.folder / "expected.safetensors")

    @property
    def family(self) -> str:
        return str(self.facts["technique"])

    @property
    def variant(self) -> str:
        return str(self.facts["variant"])

    @property
    def params(self) -> dict[str, Any]:
        return dict(self.facts.get("params", {}))

    @property
    def prompts(self) -> tuple[str, ...]:
        given = self.facts["prompt"]
        return tuple(given) if isinstance(given, list) else (given,)

    def weights(self, name: str) -> Path:
        """Return the path of an extra weight. Raises KeyError when the case names none."""
        path = str(self.facts.get("extra_weights", {})[name])
        root = self.data_root if path.startswith("tiny-models/") else self.folder
        return (root / path).resolve()

    def has_weights(self, name: str) -> bool:
        return name in self.facts.get("extra_weights", {})

    def picture(self, name: str) -> Image.Image | None:
        """Return an uint8 HWC input as a picture."""
        return Image.fromarray(self.inputs[name].numpy()) if name in self.inputs else None

    @property
    def styles(self) -> tuple[Image.Image, ...]:
        """The style pictures: `style_image`, or `style_image_0`, `_1`, ... in order of their numbers."""
        one = self.picture("style_image")
        numbered = sorted((n for n in self.inputs if n.startswith("style_image_")), key=lambda n: int(n.split("_")[-1]))
        pictures = [one, *(self.picture(name) for name in numbered)]
        return tuple(picture for picture in pictures if picture is not None)


def find(below: Path, data_root: Path) -> list[Case]:
    """Return every case folder below a folder, in the order of their paths."""
    return [Case(path.parent, data_root) for path in sorted(below.rglob("case.json"))]
