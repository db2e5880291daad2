"""Small random models in the published file layouts, rebuilt bit-equal from their seeds.

They have the module tree, block types and parameter names of Stable Diffusion 1.5, SDXL, FLUX.1 and what goes with
them, with narrow layers, so code that finds layers by name behaves as on the real checkpoints. Weights of queries and
keys are enlarged: attention is peaked, and a wrong attention map shows in the output.

    python -m tests.support.tiny.models FOLDER [--only sd15]
"""

import argparse
import hashlib
import json
import shutil
import tempfile
import warnings
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from diffusers import (
    AutoencoderKL,
    DDIMScheduler,
    FluxControlPipeline,
    FluxFillPipeline,
    FluxPipeline,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from transformers import (
    CLIPImageProcessorPil,
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    CLIPTokenizer,
    CLIPVisionConfig,
    CLIPVisionModelWithProjection,
)

from model_store.add.add import add
from model_store.catalogue.entry import Licence
from model_store.store.files import replace_with
from tests.support.tiny.flux import CONTROL_CHANNELS, FILL_CHANNELS, build_pipeline
from tests.support.tiny.flux2 import build_klein
from tests.support.tiny.flux_adapters import build_control_lora, build_depth, build_redux
from tests.support.tiny.tokenizers import save_byte_vocabulary

SUMS = Path(__file__).with_name("sums.json")
NATIVE_SIZE = 128
"""Pixels, so that the sizes of a quick test are near it."""
COMPLETE = ".complete"


class TinyModelError(Exception):
    """A rebuilt model differs from the recorded sums.

    Another version of torch, diffusers or transformers is in use, or the processor has no AVX2 and draws normal
    numbers that differ in the last bit.
    """


def build(folder: Path, name: str) -> Path:
    """Build the model `name` of BUILDERS below `folder` unless it is there; return its folder.

    The files appear at once by a rename, so several processes may build at the same time. The caller's random state
    is left as it was. Raises KeyError for another name and TinyModelError when the files are not as recorded.
    """
    target = folder / name
    if (target / COMPLETE).exists():
        return target
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=f".{name}-") as scratch:
        made = Path(scratch) / name
        with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            BUILDERS[name](made)
        verify(made, name)
        (made / COMPLETE).touch()
        with suppress(OSError):  # another process was first: its files are the same
            made.rename(target)
    if not (target / COMPLETE).exists():
        raise TinyModelError(f"{target} exists but is incomplete; remove it")
    return target


def add_to(store: Path, name: str) -> None:
    """Add the base model `name` to a model store as `tiny-NAME`."""
    with tempfile.TemporaryDirectory() as folder:
        entry = add(build(Path(folder), name), f"tiny-{name}", store, licence=Licence(name="Apache-2.0"))
    known = entry.model_copy(update={"native_size": NATIVE_SIZE})
    replace_with(store / "added" / f"{entry.id}.json", known.model_dump_json().encode())


def build_all(folder: Path) -> Path:
    """Build every tiny model below `folder` and return it."""
    for name in BUILDERS:
        build(folder, name)
    return folder


def verify(made: Path, name: str) -> None:
    """Raise TinyModelError unless every recorded file of the model `name` is in `made` with the recorded sha256."""
    recorded: dict[str, str] = json.loads(SUMS.read_text())[name]
    for path, digest in recorded.items():
        if hashlib.sha256((made / path).read_bytes()).hexdigest() != digest:
            raise TinyModelError(f"{name}/{path} differs from its recorded sum: it takes the pinned versions and AVX2")


def _sd15(out: Path) -> None:
    torch.manual_seed(15)
    unet: Any = UNet2DConditionModel(
        sample_size=8,
        block_out_channels=(32, 32, 64, 64),
        layers_per_block=2,
        cross_attention_dim=32,
        attention_head_dim=4,
        norm_num_groups=16,
        down_block_types=("CrossAttnDownBlock2D",) * 3 + ("DownBlock2D",),
        up_block_types=("UpBlock2D",) + ("CrossAttnUpBlock2D",) * 3,
    )
    text = CLIPTextModel(_text_config("quick_gelu"))
    pipe: Any = StableDiffusionPipeline(
        vae=_vae(0.18215),
        text_encoder=text.eval(),
        tokenizer=_tokenizer(out.parent / "tokenizer", "<|endoftext|>"),
        unet=_peaked(unet).eval(),
        scheduler=_scheduler(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipe.save_pretrained(out, safe_serialization=True)


def _sdxl(out: Path) -> None:
    torch.manual_seed(20)
    unet: Any = UNet2DConditionModel(
        sample_size=16,
        block_out_channels=(32, 64, 64),
        layers_per_block=2,
        cross_attention_dim=64,
        attention_head_dim=(2, 4, 4),
        norm_num_groups=16,
        transformer_layers_per_block=(1, 1, 2),
        use_linear_projection=True,
        addition_embed_type="text_time",
        addition_time_embed_dim=8,
        projection_class_embeddings_input_dim=80,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
    )
    text = CLIPTextModel(_text_config("quick_gelu"))
    text_2 = CLIPTextModelWithProjection(_text_config("gelu"))
    pipe: Any = StableDiffusionXLPipeline(
        vae=_vae(0.13025),
        text_encoder=text.eval(),
        text_encoder_2=text_2.eval(),
        tokenizer=_tokenizer(out.parent / "tokenizer", "<|endoftext|>"),
        tokenizer_2=_tokenizer(out.parent / "tokenizer_2", "!"),
        unet=_peaked(unet).eval(),
        scheduler=_scheduler(),
        add_watermarker=False,
    )
    pipe.save_pretrained(out, safe_serialization=True)


def _clip_vision(out: Path) -> None:
    torch.manual_seed(9)
    config = CLIPVisionConfig(
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=3,
        num_attention_heads=4,
        image_size=32,
        patch_size=8,
        projection_dim=32,
        hidden_act="gelu",
    )
    CLIPVisionModelWithProjection(config).eval().save_pretrained(out, safe_serialization=True)
    CLIPImageProcessorPil(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}).save_pretrained(out)


BUILDERS: dict[str, Callable[[Path], None]] = {
    "sd15": _sd15,
    "sdxl": _sdxl,
    "clip-vision": _clip_vision,
    "flux": lambda out: build_pipeline(FluxPipeline, out, 110),
    "flux-schnell": lambda out: build_pipeline(FluxPipeline, out, 111, dev=False),
    "flux-fill": lambda out: build_pipeline(FluxFillPipeline, out, 112, channels=FILL_CHANNELS),
    "flux-control": lambda out: build_pipeline(FluxControlPipeline, out, 113, channels=CONTROL_CHANNELS),
    "flux2-klein": build_klein,
    "flux-redux": build_redux,
    "flux-control-lora": build_control_lora,
    "depth-anything": build_depth,
}


def _vae(scale: float) -> Any:
    torch.manual_seed(3)
    vae: Any = AutoencoderKL(
        block_out_channels=(16, 16, 32, 32),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        latent_channels=4,
        layers_per_block=1,
        norm_num_groups=8,
        sample_size=64,
        scaling_factor=scale,
    )
    return vae.eval()


def _scheduler() -> DDIMScheduler:
    return DDIMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
    )


def _peaked(unet: Any) -> Any:
    for name, parameter in unet.named_parameters():
        if name.endswith(("to_q.weight", "to_k.weight")):
            parameter.data.mul_(4)
    return unet


def _text_config(activation: str) -> CLIPTextConfig:
    return CLIPTextConfig(
        vocab_size=514,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=3,
        num_attention_heads=4,
        max_position_embeddings=77,
        hidden_act=activation,
        projection_dim=32,
        bos_token_id=512,
        eos_token_id=513,
        pad_token_id=513,
    )


def _tokenizer(folder: Path, pad: str) -> CLIPTokenizer:
    save_byte_vocabulary(folder)
    made = CLIPTokenizer(str(folder / "vocab.json"), str(folder / "merges.txt"), pad_token=pad, model_max_length=77)
    shutil.rmtree(folder)
    return made


def main() -> None:
    """Build the models named on the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.support.tiny.models", description="Build the tiny test models."
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--only", choices=sorted(BUILDERS), action="append")
    parser.add_argument("--store", action="store_true", help="the folder is a model store: add the base models to it")
    chosen = parser.parse_args()
    if chosen.store:
        add_to(chosen.folder, "sd15")
        add_to(chosen.folder, "sdxl")
        return
    for name in chosen.only or BUILDERS:
        print(build(chosen.folder, name))


if __name__ == "__main__":
    main()
