"""Statistics of a style set as a folder, in the published format: `stats.safetensors` and `statistic_type.txt`."""

from pathlib import Path
from typing import Literal

from safetensors.torch import save_file
from torch import Tensor

from model_store.errors import ModelStoreError
from model_store.load.tensors import load_tensors
from workers.engine.errors import Refused

Kind = Literal["pixel", "dct+pixel"]
KEYS: dict[str, tuple[str, ...]] = {
    "pixel": ("mean_pixels", "var_pixels"),
    "dct+pixel": ("mean_lf_components", "cov_lf_components", "mean_hf_remainder", "var_hf_remainder"),
}


def read(folder: Path) -> tuple[Kind, dict[str, Tensor]]:
    """Return the kind and the float32 tensors of a statistics folder. Raises Refused when it is not one."""
    try:
        kind = (folder / "statistic_type.txt").read_text().strip()
        tensors = load_tensors(folder / "stats.safetensors")
    except (ModelStoreError, OSError, UnicodeDecodeError) as broken:
        raise Refused(f"{folder.name} holds no statistics: {broken}") from broken
    if kind not in KEYS or set(KEYS[kind]) - set(tensors):
        raise Refused(f"{folder.name}: statistics of type {kind!r} need {', '.join(KEYS.get(kind, ()) or KEYS)}")
    found: Kind = "pixel" if kind == "pixel" else "dct+pixel"
    return found, {key: tensors[key].float() for key in KEYS[kind]}


def write(folder: Path, kind: Kind, tensors: dict[str, Tensor]) -> None:
    """Write statistics into a folder that exists."""
    save_file({key: tensors[key].float().contiguous() for key in KEYS[kind]}, folder / "stats.safetensors")
    (folder / "statistic_type.txt").write_text(kind)
