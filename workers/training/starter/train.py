"""Train the starter model, stage by stage; every stage resumes where it was interrupted.

`python -m workers.training.starter.train --stage all --recipe cpu`
"""

import argparse
from collections.abc import Callable
from pathlib import Path
from types import MappingProxyType

import torch

from workers.training.starter.recipe import RECIPES
from workers.training.starter.stages.clip import train_clip
from workers.training.starter.stages.controlnet import train_controlnet
from workers.training.starter.stages.csgo import train_csgo
from workers.training.starter.stages.ip_adapter import train_ip_adapter
from workers.training.starter.stages.judges import train_judges
from workers.training.starter.stages.qformer import train_qformer
from workers.training.starter.stages.unet import train_unet
from workers.training.starter.stages.vae import train_vae
from workers.training.starter.workspace import Workspace

DEFAULT_FOLDER = Path("~/.cache/stylize/starter")

STAGES: MappingProxyType[str, Callable[[Workspace], None]] = MappingProxyType(
    {
        "judges": train_judges,
        "vae": train_vae,
        "clip": train_clip,
        "unet": train_unet,
        "ip-adapter": train_ip_adapter,
        "qformer": train_qformer,
        "controlnet": train_controlnet,
        "csgo": train_csgo,
    }
)


def main(arguments: list[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m workers.training.starter.train", description=__doc__)
    parser.add_argument("--stage", choices=[*STAGES, "all"], required=True)
    parser.add_argument("--recipe", choices=list(RECIPES), default="cpu")
    parser.add_argument("--folder", type=Path, default=DEFAULT_FOLDER, help="data and checkpoints (%(default)s)")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--workers", type=int, default=1, help="processes that draw pictures")
    options = parser.parse_args(arguments)
    torch.set_float32_matmul_precision("high")
    folder = options.folder.expanduser() / options.recipe
    folder.mkdir(parents=True, exist_ok=True)
    space = Workspace(RECIPES[options.recipe], folder, torch.device(options.device), options.workers)
    for name in STAGES if options.stage == "all" else [options.stage]:
        STAGES[name](space)


if __name__ == "__main__":
    main()
