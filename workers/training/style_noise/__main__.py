"""Train a style for style-noise from 10 to 50 pictures.

python -m workers.training.style_noise --model FOLDER --images FOLDER --out FOLDER

A text file beside a picture, with its name, holds its caption: what it shows, without words about the style.
"""

import argparse
import sys
from pathlib import Path

from PIL import Image

from workers.engine.backbones.load import load
from workers.engine.backbones.stable_diffusion import StableDiffusion
from workers.engine.errors import Refused
from workers.techniques.prior_noise.style_noise.spec import SPEC
from workers.training.style_noise.loop import TrainingConfig, train

SUFFIXES = {".png", ".jpg", ".jpeg", ".webp"}


def arguments() -> argparse.Namespace:
    """Return the command line's choices."""
    parser = argparse.ArgumentParser(prog=f"python -m {__spec__.name}" if __spec__ else None, description=__doc__)
    parser.add_argument("--model", type=Path, required=True, help="folder of the base model, SD1.5 or SDXL")
    parser.add_argument("--images", type=Path, required=True, help="folder of the style's pictures and captions")
    parser.add_argument("--out", type=Path, required=True, help="folder that the style is written to")
    parser.add_argument("--device", default="cpu", help="cpu, cuda or cuda:N")
    parser.add_argument("--size", type=int, help="side of the pictures; default: the base model's")
    parser.add_argument("--steps", type=int, default=TrainingConfig.steps)
    parser.add_argument("--batch", type=int, default=TrainingConfig.batch)
    parser.add_argument("--rank", type=int, default=TrainingConfig.rank)
    parser.add_argument("--learning-rate", type=float, default=TrainingConfig.learning_rate)
    parser.add_argument("--seed", type=int, default=TrainingConfig.seed)
    return parser.parse_args()


def main() -> int:
    """Train as the command line says; return the exit status."""
    chosen = arguments()
    paths = sorted(path for path in chosen.images.glob("*") if path.suffix.lower() in SUFFIXES)
    captions = [path.with_suffix(".txt") for path in paths]
    backbone = load(chosen.model, device=chosen.device)
    if not isinstance(backbone, StableDiffusion):
        print(f"style-noise is trained on Stable Diffusion 1.5 or SDXL, not on {backbone.base}", file=sys.stderr)
        return 1
    side = chosen.size or SPEC.bases[backbone.base].width
    config = TrainingConfig(chosen.steps, chosen.batch, chosen.rank, chosen.learning_rate, seed=chosen.seed)
    try:
        train(
            backbone,
            [Image.open(path).convert("RGB") for path in paths],
            [caption.read_text().strip() if caption.exists() else "" for caption in captions],
            chosen.out,
            width=side,
            height=side,
            config=config,
            report=lambda number, loss: print(f"step {number} of {config.steps}: loss {loss:.4f}", flush=True),
        )
    except (ValueError, Refused) as refusal:
        print(refusal, file=sys.stderr)
        return 1
    print(chosen.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
