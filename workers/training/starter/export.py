"""Write the trained model as a diffusers folder in half precision, with the digests of its files.

`python -m workers.training.starter.export --recipe cpu --to model_store/starter/weights`
"""

import argparse
import hashlib
import json
from pathlib import Path
from typing import Any

import torch
from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion import StableDiffusionPipeline
from safetensors.torch import save_file
from transformers import CLIPTextModel

from workers.training.starter.networks import csgo, qformer
from workers.training.starter.networks.adapter import read_adapter
from workers.training.starter.networks.controlnet import build_controlnet, write_controlnet
from workers.training.starter.networks.image_encoder import build_image_processor
from workers.training.starter.networks.qformer_file import write_readers
from workers.training.starter.networks.text import build_tokenizer, write_tokenizer
from workers.training.starter.networks.unet import build_scheduler
from workers.training.starter.recipe import RECIPES, StarterConfig
from workers.training.starter.sample import load_unet
from workers.training.starter.stages.clip import load_shared
from workers.training.starter.stages.fitting import restore, trained_state
from workers.training.starter.stages.ip_adapter import load_ip_adapter
from workers.training.starter.stages.vae import load_autoencoder
from workers.training.starter.train import DEFAULT_FOLDER
from workers.training.starter.workspace import Workspace

LARGEST_BYTES = 60_000_000
DIGESTS = "digests.json"
RECIPE = "recipe.json"
LEAST_CONTENT_ACCURACY = 0.9
ADAPTER = Path("ip-adapter/ip-adapter_starter.safetensors")


def require_quality(evaluation: Path) -> None:
    """Refuse a model whose objects cannot be named: `evaluation.json` must show the content accuracy of the gate."""
    if not evaluation.exists():
        raise FileNotFoundError(f"evaluate the model first: {evaluation}")
    accuracy = float(json.loads(evaluation.read_text())["plain_content_accuracy"]["mean"])
    if accuracy < LEAST_CONTENT_ACCURACY:
        raise ValueError(f"content accuracy {accuracy:.3f}, below the gate of {LEAST_CONTENT_ACCURACY}")


def export(space: Workspace, name: str, folder: Path) -> None:
    """Everything that the stages have left in the workspace of the recipe so named, as one model folder."""
    image_encoder, text_encoder = load_shared(space)
    unet, _ = load_unet(space)
    from_text: dict[str, Any] = {"text_encoder": _without_projection(text_encoder), "tokenizer": build_tokenizer()}
    pipeline = StableDiffusionPipeline(
        vae=load_autoencoder(space),
        unet=unet,
        scheduler=build_scheduler(),
        safety_checker=None,
        feature_extractor=build_image_processor(),
        image_encoder=image_encoder,
        requires_safety_checker=False,
        **from_text,
    )
    pipeline.to(dtype=torch.float16)
    pipeline.save_pretrained(folder, safe_serialization=True)
    write_tokenizer(from_text["tokenizer"], folder / "tokenizer")
    text_encoder.half().save_pretrained(folder / "text_projector")
    for part in ("text_encoder", "text_projector", "image_encoder"):
        _load_as_float32(folder / part / "config.json")
    _export_adapter(space, folder / ADAPTER)
    _export_encoders(space, folder)
    (folder / RECIPE).write_text(json.dumps({"recipe": name}) + "\n")
    judges = space.folder / "judges.safetensors"
    (folder / judges.name).write_bytes(judges.read_bytes())
    write_digests(folder)


def _without_projection(encoder: Any) -> Any:
    plain = CLIPTextModel(encoder.config)
    plain.load_state_dict(encoder.text_model.state_dict())
    return plain.eval()


def _load_as_float32(config: Path) -> None:
    """Transformers loads weights in the stored precision, diffusers in float32; both shall agree by default."""
    facts = json.loads(config.read_text()) | {"dtype": "float32"}
    config.write_text(json.dumps(facts, indent=2) + "\n")


def _export_adapter(space: Workspace, path: Path) -> None:
    unet, _ = load_unet(space)
    load_ip_adapter(space, unet)
    path.parent.mkdir(parents=True, exist_ok=True)
    parts = read_adapter(unet).items()
    save_file({f"{part}.{name}": t.half().contiguous().cpu() for part, ts in parts for name, t in ts.items()}, path)


def _export_encoders(space: Workspace, folder: Path) -> None:
    """DEADiff's readers, the tile ControlNet and CSGO's adapters, each in the layout of its authors."""
    image_encoder, _ = load_shared(space)
    unet, _ = load_unet(space)
    net = build_controlnet(unet)
    restore(net, trained_state(space, "controlnet"))
    write_controlnet(net, folder / "controlnet-tile")
    composer = csgo.attach(unet, net)
    restore(composer.trained, trained_state(space, "csgo"))
    csgo.write_composer(composer, unet, folder / "csgo" / "csgo_starter.safetensors")
    readers = qformer.attach(load_unet(space)[0])
    restore(readers.trained, trained_state(space, "qformer"))
    write_readers(readers, image_encoder, folder / "deadiff")


def write_digests(folder: Path) -> None:
    """`digests.json`: SHA-256 of every file; refuses a folder over the size that the repository allows."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != DIGESTS)
    size = sum(path.stat().st_size for path in files)
    if size > LARGEST_BYTES:
        raise ValueError(f"{size} bytes of weights, more than {LARGEST_BYTES}")
    digests = {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
    (folder / DIGESTS).write_text(json.dumps(digests, indent=1) + "\n")


def recipe_of(folder: Path) -> StarterConfig:
    """The recipe by which an exported model was trained: the part of the world that it knows."""
    return RECIPES[json.loads((folder / RECIPE).read_text())["recipe"]]


def wrong_files(folder: Path) -> list[str]:
    """Names of files that are missing or differ from `digests.json`."""
    digests: dict[str, str] = json.loads((folder / DIGESTS).read_text())
    return [name for name, digest in digests.items() if not _matches(folder / name, digest)]


def _matches(path: Path, digest: str) -> bool:
    return path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == digest


def main(arguments: list[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m workers.training.starter.export", description=__doc__)
    parser.add_argument("--recipe", choices=list(RECIPES), default="cpu")
    parser.add_argument("--folder", type=Path, default=DEFAULT_FOLDER, help="of the checkpoints (%(default)s)")
    parser.add_argument("--to", type=Path, required=True, help="the model folder to write")
    parser.add_argument("--draft", action="store_true", help="without the gate on quality; not for shipping")
    options = parser.parse_args(arguments)
    folder = options.folder.expanduser() / options.recipe
    if not options.draft:
        require_quality(folder / "evaluation.json")
    export(Workspace(RECIPES[options.recipe], folder, torch.device("cpu")), options.recipe, options.to)


if __name__ == "__main__":
    main()
