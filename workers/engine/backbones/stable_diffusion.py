"""One resident base model: Stable Diffusion 1.5 or SDXL, with everything a request needs of it.

Techniques share it: they keep their own modules beside it (`get_or_load`) and change it only through `patches`.
"""

import hashlib
import json
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, Literal

import torch
from diffusers import StableDiffusionPipeline, StableDiffusionXLPipeline
from torch import Tensor, nn

from model_store.errors import ModelStoreError
from model_store.load.base import load_base
from workers.engine.conditioning import Condition
from workers.engine.errors import ModelUnusable
from workers.engine.images import Pixels, from_signed

Base = Literal["sd15", "sdxl"]
PIPELINES: dict[str, tuple[Base, Any]] = {
    "StableDiffusionPipeline": ("sd15", StableDiffusionPipeline),
    "StableDiffusionXLPipeline": ("sdxl", StableDiffusionXLPipeline),
}


class Backbone:
    """A loaded base model on one device. One request at a time may run on it: hold `lock` while preparing or denoising.

    The UNet and the text encoders have `dtype`; the VAE stays in float32, because style latents must be exact, and
    decodes under autocast where `dtype` is bfloat16. `fingerprint` names the weights in cache keys.
    """

    def __init__(self, pipe: Any, *, name: str, base: Base, fingerprint: str, dtype: torch.dtype) -> None:
        self.pipe = pipe
        self.name = name
        self.base: Base = base
        self.fingerprint = fingerprint
        self.dtype = dtype
        self.lock = threading.RLock()
        self.scheduler_config: dict[str, Any] = dict(pipe.scheduler.config)
        self.as_loaded: Callable[[], AbstractContextManager[None]] = nullcontext
        """Gives a while with the weights as they were loaded, whatever a request has put in their place."""
        self._residents: dict[str, Any] = {}

    @property
    def unet(self) -> Any:
        """The diffusers UNet2DConditionModel."""
        return self.pipe.unet

    @property
    def vae(self) -> Any:
        """The diffusers AutoencoderKL, float32."""
        return self.pipe.vae

    @property
    def folder(self) -> Path | None:
        """The diffusers folder it was loaded from, which may hold adapters of its own."""
        origin = self.pipe.name_or_path
        return Path(origin) if origin else None

    @property
    def device(self) -> torch.device:
        """Where the weights are; diffusers' own property walks through all modules each time, a millisecond or more."""
        return next(self.pipe.unet.parameters()).device

    @property
    def latent_channels(self) -> int:
        """Channels of a latent."""
        return int(self.unet.config.in_channels)

    @property
    def vae_factor(self) -> int:
        """Pixels per latent cell along a side; width and height of a picture must be multiples of it."""
        return int(2 ** (len(self.vae.config.block_out_channels) - 1))

    def latent_shape(self, width: int, height: int) -> tuple[int, int, int]:
        """Return (channels, h, w) of the latents of a picture."""
        return self.latent_channels, height // self.vae_factor, width // self.vae_factor

    def get_or_load(self, key: str, build: Callable[[], Any]) -> Any:
        """Return what is kept beside the base model under `key` (an adapter, a ControlNet), building it once.

        It is built while the weights are as they were loaded.
        """
        with self.lock:
            if key not in self._residents:
                with self.as_loaded():
                    self._residents[key] = build()
            return self._residents[key]

    @torch.no_grad()
    def condition(
        self,
        prompts: Sequence[str],
        negative_prompt: str | None,
        *,
        guided: bool,
        width: int,
        height: int,
        time_ids: Sequence[int] | None = None,
    ) -> tuple[Condition, Condition | None]:
        """Return the conditional and, when guided, the unconditional half for prompts (one per picture).

        Text goes through the pipeline's own encode_prompt; `negative_prompt=None` means none was given (zeros on
        SDXL, the encoded empty text on SD1.5). `time_ids` replaces SDXL's (height, width, 0, 0, height, width).
        """
        distinct = list(dict.fromkeys(prompts))
        order = torch.tensor([distinct.index(prompt) for prompt in prompts], device=self.device)
        negatives = None if negative_prompt is None else [negative_prompt] * len(distinct)
        encoded = self.pipe.encode_prompt(
            prompt=distinct,
            device=self.device,
            num_images_per_prompt=1,
            do_classifier_free_guidance=guided,
            negative_prompt=negatives,
        )
        text, negative_text, pooled, negative_pooled = (*encoded, None, None)[:4]
        ids = self._time_ids(len(prompts), time_ids or (height, width, 0, 0, height, width))
        positive = Condition(text[order], None if pooled is None else pooled[order], ids)
        if not guided:
            return positive, None
        return positive, Condition(
            negative_text[order], None if negative_pooled is None else negative_pooled[order], ids
        )

    def _time_ids(self, rows: int, ids: Sequence[int]) -> Tensor | None:
        if self.base == "sd15":
            return None
        return torch.tensor([list(ids)], dtype=torch.float32, device=self.device).expand(rows, -1)

    @torch.no_grad()
    def encode(self, signed: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Return the latents of one picture (1, 3, h, w) in -1..1, float32: posterior mode times scaling factor.

        With a CPU `generator`, a sample of the posterior in place of its mode.
        """
        posterior = self.vae.encode(signed.to(self.device, torch.float32)).latent_dist
        return self._scaled(posterior.mode() if generator is None else posterior.sample(generator=generator))

    def _scaled(self, latents: Tensor) -> Tensor:
        shift = getattr(self.vae.config, "shift_factor", None) or 0.0
        return (latents - shift) * self.vae.config.scaling_factor

    def pictures(self, latents: Tensor) -> Tensor:
        """Return latents (n, channels, h, w) as pictures (n, 3, h, w) in about -1..1, float32; gradients pass."""
        shift = getattr(self.vae.config, "shift_factor", None) or 0.0
        unscaled = latents.float() / self.vae.config.scaling_factor + shift
        reduced = self.dtype is torch.bfloat16 and self.device.type == "cuda"
        with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=reduced):
            return self.vae.decode(unscaled, return_dict=False)[0].float()

    @torch.no_grad()
    def decode(self, latents: Tensor) -> list[Pixels]:
        """Return latents (n, channels, h, w) as n RGB uint8 arrays, decoded one by one."""
        return [pixels for row in latents for pixels in from_signed(self.pictures(row[None]))]


def load(
    folder: Path,
    *,
    name: str | None = None,
    device: str | torch.device = "cpu",
    dtype: torch.dtype | None = None,
    vae: Path | None = None,
) -> Backbone:
    """Return the base model in a diffusers folder (model_index.json; safetensors only, never from the network).

    `dtype` defaults to bfloat16 on CUDA and float32 elsewhere. `vae` replaces the folder's VAE. Raises ModelUnusable
    when the folder holds no Stable Diffusion 1.5 or SDXL model, or a file of it is missing or not exactly what its
    configuration asks for; the text names file and key.
    """
    index = _index(folder)
    if index["_class_name"] not in PIPELINES:
        raise ModelUnusable(f"{folder} holds a {index['_class_name']}; SD1.5 and SDXL pipelines can be used")
    base, pipeline = PIPELINES[index["_class_name"]]
    device = torch.device(device)
    dtype = dtype or (torch.bfloat16 if device.type == "cuda" else torch.float32)
    try:
        parts = load_base(folder, base, device=device, dtype=dtype, vae=vae)
    except (ModelStoreError, OSError) as broken:
        raise ModelUnusable(f"{folder} cannot be loaded: {broken}") from broken
    pipe = pipeline(**parts, **_absent(base, index))
    pipe.register_to_config(_name_or_path=str(folder))
    return wrap(pipe, name=name or folder.name, device=device, dtype=dtype, fingerprint=fingerprint(folder, vae))


def _absent(base: Base, index: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a pipeline is told about parts that are not used, and the settings its index file holds."""
    if base == "sd15":
        return {"safety_checker": None, "feature_extractor": None, "requires_safety_checker": False}
    return {
        "add_watermarker": False,
        "force_zeros_for_empty_prompt": bool(index.get("force_zeros_for_empty_prompt", True)),
    }


def wrap(pipe: Any, *, name: str, device: torch.device, dtype: torch.dtype, fingerprint: str) -> Backbone:
    """Return a diffusers pipeline, its VAE in float32, as a backbone: frozen and on the device."""
    base, _ = PIPELINES[type(pipe).__name__]
    pipe.to(device)
    pipe.set_progress_bar_config(disable=True)
    for part in pipe.components.values():
        if isinstance(part, nn.Module):
            part.eval().requires_grad_(False)
    return Backbone(pipe, name=name, base=base, fingerprint=fingerprint, dtype=dtype)


def fingerprint(folder: Path, *others: Path | None) -> str:
    """Return a name for the weights in folders: their files' paths, sizes, times of change, and all configurations."""
    seen = hashlib.sha256()
    for root in (folder, *(other for other in others if other is not None)):
        for path in sorted(root.rglob("*")):
            if path.suffix == ".json":
                seen.update(path.read_bytes())
            elif path.suffix == ".safetensors":
                facts = path.stat()
                seen.update(f"{path.relative_to(root)}:{facts.st_size}:{facts.st_mtime_ns}".encode())
    return seen.hexdigest()


def _index(folder: Path) -> dict[str, Any]:
    """Return what a diffusers folder says of itself: `_class_name` and the pipeline's own settings."""
    try:
        found = json.loads((folder / "model_index.json").read_bytes())
        return {**found, "_class_name": str(found["_class_name"])}
    except (OSError, ValueError, KeyError, TypeError) as missing:
        raise ModelUnusable(f"{folder} is not a diffusers model folder: {missing}") from missing
