"""Judge the trained model: plain text-to-image on unseen object-style pairs, and the IP-Adapter on unseen instances.

`python -m workers.training.starter.evaluate --recipe cpu --pictures 500`
"""

import argparse
import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from workers.training.starter.dataset import Portion
from workers.training.starter.judges import Judges, load_judges
from workers.training.starter.metrics import Measured, content_accuracy, leak_rate, style_similarity
from workers.training.starter.networks.adapter import set_scale
from workers.training.starter.networks.captioner import Captioner
from workers.training.starter.networks.patch_code import as_tensor
from workers.training.starter.recipe import RECIPES
from workers.training.starter.sample import decode, denoise, load_unet, sample
from workers.training.starter.sheet import contact_sheet
from workers.training.starter.split import pairs
from workers.training.starter.stages.clip import load_shared
from workers.training.starter.stages.ip_adapter import load_ip_adapter
from workers.training.starter.stages.vae import load_autoencoder
from workers.training.starter.train import DEFAULT_FOLDER
from workers.training.starter.workspace import Workspace
from workers.training.starter.world.captions import caption

SCALES = (0.0, 0.25, 0.5, 0.75, 1.0)
BATCH = 32


@dataclass(frozen=True)
class AdapterFigures:
    """One scale of the adapter over the same references, prompts and seeds."""

    scale: float
    content_accuracy: Measured
    style_similarity: Measured
    leak_rate: Measured


@dataclass(frozen=True)
class StarterEvaluation:
    """All figures of one run; `step` of the denoiser's checkpoint."""

    recipe: str
    step: int
    pictures: int
    plain_content_accuracy: Measured
    plain_seconds_per_picture: float
    adapter: tuple[AdapterFigures, ...] = ()

    def markdown(self) -> str:
        """The figures as a table."""
        lines = [
            f"Recipe `{self.recipe}`, step {self.step}, {self.pictures} pictures, 95 % bootstrap intervals.",
            "",
            f"Plain text-to-image on unseen object-style pairs: content accuracy {self.plain_content_accuracy}, "
            f"{self.plain_seconds_per_picture:.2f} s a picture.",
        ]
        if self.adapter:
            lines += ["", "| IP-Adapter scale | content accuracy | style similarity | leak rate |", "|---|---|---|---|"]
        rows = [(a.scale, a.content_accuracy, a.style_similarity, a.leak_rate) for a in self.adapter]
        return "\n".join(lines + ["| " + " | ".join(str(cell) for cell in row) + " |" for row in rows]) + "\n"


def evaluate(space: Workspace, name: str, pictures: int) -> StarterEvaluation:
    """Plain text-to-image, and the adapter where the workspace has one."""
    judges = load_judges(space.folder / "judges.safetensors")
    unseen = pairs(space.recipe.objects, space.recipe.styles, held_out=True)
    asked = [unseen[index % len(unseen)] for index in range(pictures)]
    started = time.perf_counter()
    drawn = sample(space, [caption(*pair) for pair in asked])
    seconds = (time.perf_counter() - started) / pictures
    accuracy = content_accuracy(judges, as_tensor(drawn), [pair[0] for pair in asked])
    _, step = load_unet(space)
    adapter: tuple[AdapterFigures, ...] = ()
    if space.checkpoint_path("ip-adapter").exists():
        adapter = tuple(_adapter_figures(space, judges, pictures // len(SCALES)))
    return StarterEvaluation(name, step, pictures, accuracy, seconds, adapter)


def _adapter_figures(space: Workspace, judges: Judges, count: int) -> list[AdapterFigures]:
    """Every scale over the same references, from unseen pairs in unseen instances; the prompt never names the style."""
    r = space.recipe
    portion = Portion(r.objects, r.styles, r.placement, count, pairs="unseen", unseen_instances=True, seed=r.seed)
    references = space.pictures(portion)
    shown = [spec.object_name for spec in references.specs]
    rng = np.random.default_rng(r.seed)
    asked = [str(rng.choice([name for name in r.objects if name != other])) for other in shown]
    pixels = as_tensor(references.images)
    figures = []
    for scale in SCALES:
        drawn = as_tensor(_stylized(space, asked, pixels, scale))
        content, style = content_accuracy(judges, drawn, asked), style_similarity(judges, drawn, pixels)
        figures.append(AdapterFigures(scale, content, style, leak_rate(judges, drawn, asked, shown)))
    return figures


@torch.no_grad()
def _stylized(space: Workspace, names: list[str], references: Tensor, scale: float) -> np.ndarray:
    unet, _ = load_unet(space)
    load_ip_adapter(space, unet)
    set_scale(unet, scale)
    encoder, _ = load_shared(space)
    captioner, vae = Captioner(space.recipe, space.device), load_autoencoder(space)
    latents = []
    for start in range(0, len(names), BATCH):
        part = names[start : start + BATCH]
        embeds = encoder(references[start : start + BATCH].to(space.device)).image_embeds[:, None]
        conditions = ({"image_embeds": [embeds]}, {"image_embeds": [torch.zeros_like(embeds)]})
        text, empty = captioner.encode([caption(name) for name in part]), captioner.encode([""] * len(part))
        seeds = list(range(start, start + len(part)))
        latents.append(denoise(unet, text, empty, seeds=seeds, conditions=conditions))
    return decode(vae, torch.cat(latents))


def write_sheet(space: Workspace, path: Path) -> None:
    """Every object of the recipe in every style, as a labelled sheet."""
    rows, columns = space.recipe.styles, space.recipe.objects
    drawn = sample(space, [caption(name, style) for style in rows for name in columns])
    contact_sheet(drawn, rows, columns).save(path)


def main(arguments: list[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m workers.training.starter.evaluate", description=__doc__)
    parser.add_argument("--recipe", choices=list(RECIPES), default="cpu")
    parser.add_argument("--folder", type=Path, default=DEFAULT_FOLDER, help="of the checkpoints (%(default)s)")
    parser.add_argument("--pictures", type=int, default=500)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--sheet-only", action="store_true", help="only the contact sheet, no figures")
    options = parser.parse_args(arguments)
    folder = options.folder.expanduser() / options.recipe
    space = Workspace(RECIPES[options.recipe], folder, torch.device(options.device))
    write_sheet(space, folder / "sheet.png")
    if options.sheet_only:
        return
    result = evaluate(space, options.recipe, options.pictures)
    (folder / "evaluation.json").write_text(json.dumps(asdict(result), indent=1) + "\n")
    (folder / "evaluation.md").write_text(result.markdown())
    print(result.markdown())


if __name__ == "__main__":
    main()
