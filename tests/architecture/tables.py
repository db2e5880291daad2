"""`python -m tests.architecture.tables --write`: write the tables of README and docs that come from the code."""

import json
import re
import sys
from pathlib import Path

from model_store.catalogue import entry_of, folder_of, needed_by, shipped_entries, with_required
from model_store.catalogue.entry import Entry
from model_store.load.base import FLUX, FLUX2
from tests.architecture.source import DEEP, PACKAGES, ROOT, tree_of
from tests.support.published import flux
from tests.support.published.flux2 import WIDTHS
from workers.contract.spec import Spec
from workers.techniques import registry

README = ROOT / "README.md"
ARCHITECTURE = ROOT / "docs" / "architecture.md"
OPERATING = ROOT / "docs" / "operating.md"


def techniques() -> list[str]:
    return [
        "| method | family | driven by | base models | paper |",
        "|---|---|---|---|---|",
        *map(_row, registry.names()),
    ]


def _row(name: str) -> str:
    spec: Spec = registry.spec(name)
    bases = ", ".join(base.upper() for base in spec.bases)
    return f"| `{name}` | {spec.family} | {spec.inputs.driven_by} | {bases} | [{spec.paper.title}]({spec.paper.url}) |"


def targets() -> list[str]:
    found = re.findall(r"^([a-z-]+):.*## (.*)$", (ROOT / "Makefile").read_text(), re.M)
    return ["| target | what it does |", "|---|---|", *(f"| `make {name}` | {what} |" for name, what in found)]


def rooms() -> list[str]:
    """Return a line for each room: the first sentence of its `__init__.py`."""
    deep = tuple(package.replace(".", "/") for package in DEEP)
    folders = [ROOT / package for package in PACKAGES] + [ROOT / package for package in deep]
    found = sorted({child for folder in folders for child in folder.iterdir() if (child / "__init__.py").exists()})
    return [f"- `{path.relative_to(ROOT)}`: {_sentence(path)}" for path in found]


def _sentence(folder: Path) -> str:
    for node in tree_of(folder / "__init__.py").body[:1]:
        doc = getattr(getattr(node, "value", None), "value", None)
        if isinstance(doc, str):
            return " ".join(doc.split("\n\n")[0].split())
    return ""


GIB = 2**30
CUDA_CONTEXT = 0.6
"""GiB that CUDA and its libraries take before the first tensor: a rule of thumb."""


def needs() -> list[str]:
    """Return what each served base model needs: disk by the catalogue, GPU memory by the engine's own estimate."""
    served = [entry for entry in shipped_entries().values() if entry.kind == "base" and entry.base]
    return [
        "| model | pictures | its weights | with all methods | GPU memory for one picture | with all methods |",
        "|---|---|---|---|---|---|",
        *map(_need, served),
    ]


def _need(entry: Entry) -> str:
    own, methods = _own_bytes(entry), 0.0
    if entry.origin == "hub":
        methods_of = [name for name in registry.names() if entry.base in registry.spec(name).bases]
        wanted = {need for name in methods_of for need in needed_by(name, entry.id) if need != entry.id}
        methods = sum(entry_of(need).about_mb for need in with_required(wanted, Path()) if need != entry.id) * 1e6
    same = [
        _own_bytes(other) for other in shipped_entries().values() if other.base == entry.base and other.kind == "base"
    ]
    held = own if entry.origin != "hub" else min(size for size in same if size >= own / 2)
    side = entry.native_size or 0
    gpu = held / GIB + _activations(entry, side) / GIB + CUDA_CONTEXT
    extra = f"{gpu + methods / GIB:.0f} GiB" if methods else f"{gpu:.1f} GiB"
    disk = f"{(own + methods) / 1e9:.1f} GB"
    return f"| `{entry.id}` | {side} | {own / 1e9:.1f} GB | {disk} | {gpu:.1f} GiB | {extra} |"


def _own_bytes(entry: Entry) -> float:
    if entry.origin == "hub":
        return entry.about_mb * 1e6
    return float(sum(path.stat().st_size for path in folder_of(entry.id, Path()).rglob("*") if path.is_file()))


def _activations(entry: Entry, side: int) -> float:
    """Return the peak of the backbone's estimate_memory for a picture, with the second row of guidance, in bfloat16."""
    if entry.base in FLUX + FLUX2:
        return _flux_activations(entry, side)
    from workers.engine.backbones.pipeline import DECODE_MAPS
    from workers.engine.backbones.stable_diffusion import UNET_MAPS

    folder = ROOT / "model_store" / "configs" / str(entry.base)
    if entry.origin != "hub":
        folder = folder_of(entry.id, Path())
    unet, vae = (json.loads((folder / part / "config.json").read_text()) for part in ("unet", "vae"))
    factor = 2 ** (len(vae["block_out_channels"]) - 1)
    denoise = 2 * unet["block_out_channels"][0] * (side // factor) ** 2 * 2 * UNET_MAPS
    return float(max(denoise, max(vae["block_out_channels"][:2]) * side**2 * 4 * DECODE_MAPS))


def _flux_activations(entry: Entry, side: int) -> float:
    from workers.engine.backbones.flux import MAPS, TEXT_TOKENS
    from workers.engine.backbones.pipeline import DECODE_MAPS

    rows = 2 if entry.base == "flux2-klein-base" else 1
    denoise = rows * ((side // 16) ** 2 + 2 * TEXT_TOKENS) * WIDTHS.get(entry.id, flux.WIDTH) * 2 * MAPS
    return float(max(denoise, max(flux.VAE["block_out_channels"][:2]) * side**2 * 4 * DECODE_MAPS))


TABLES = {
    (README, "techniques"): techniques,
    (OPERATING, "targets"): targets,
    (OPERATING, "needs"): needs,
    (ARCHITECTURE, "rooms"): rooms,
}


def written(file: Path, name: str) -> str:
    """Return the file with its table as the code has it."""
    before, mark, rest = file.read_text().partition(f"<!-- {name} -->\n")
    _, end, after = rest.partition(f"<!-- /{name} -->")
    assert mark, f"{file.name} has no place for {name}"
    assert end, f"{file.name} has no place for {name}"
    return before + mark + "".join(f"{line}\n" for line in TABLES[file, name]()) + end + after


if __name__ == "__main__":
    for file, name in TABLES:
        text = written(file, name)
        if "--write" in sys.argv[1:]:
            file.write_text(text)
        elif text != file.read_text():
            sys.exit(f"{file.name}: the table {name} is not the code's; run: make docs")
