"""What the engine and the techniques ask of a base model, whatever its architecture.

`StableDiffusion` is one. The state of a picture is a latent (channels, h, w) in float32 for each of them: a model that
works on packed tokens packs and unpacks within `predict`, so that loop, previews, masks and batches are the same. What
a call has beside latents and timestep lies in its `Condition`, one row per picture, by names that only `condition` and
`predict` need to know. Schedulers that differ are made alike by `build_scheduler`, see `schedulers.Scheduler`.
"""

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from transformers import PreTrainedTokenizerBase

from model_store.catalogue.entry import Base
from workers.engine.conditioning import Condition
from workers.engine.denoise import DenoiserCall
from workers.engine.memory import Estimate, require
from workers.engine.residency.placement import HOST, WeightStorage
from workers.engine.residency.shared_parts import SharedParts
from workers.engine.schedulers import Scheduler


class Backbone(ABC):
    """A loaded base model on one device. One request at a time may run on it: hold `lock` while preparing or denoising.

    Denoiser and text encoders have `dtype`. `fingerprint` names the weights in cache keys. Techniques share it: they
    keep their own modules beside it (`get_or_load`) and change it only through `patches`.
    """

    loras_as_branches: ClassVar[bool] = False
    """Whether LoRAs run beside the weights; else they are added to copies of them, which costs memory and no time."""

    def __init__(
        self, *, name: str, base: Base, fingerprint: str, dtype: torch.dtype, scheduler_config: Mapping[str, Any]
    ) -> None:
        self.name = name
        self.base: Base = base
        self.fingerprint = fingerprint
        self.dtype = dtype
        self.shared = SharedParts()
        """What it has in common with other base models; they have one lock."""
        self.weight_storage: WeightStorage = "full"
        self.encoders_on_host = False
        self.scheduler_config = dict(scheduler_config)
        self.with_original_weights: Callable[[], AbstractContextManager[None]] = nullcontext
        """Returns a context in which the model has the weights it was loaded with, whatever a request put there."""
        self._residents: dict[str, Any] = {}

    def note_residency(self, shared: SharedParts, weight_storage: WeightStorage, encoders_on_host: bool) -> None:
        """Say how the model was loaded; what is cached of reduced weights is not that of the full ones."""
        self.shared, self.weight_storage, self.encoders_on_host = shared, weight_storage, encoders_on_host
        if weight_storage != "full":
            self.fingerprint = f"{self.fingerprint} {weight_storage}"

    @property
    def lock(self) -> threading.RLock:
        """What to hold while preparing or denoising."""
        return self.shared.lock

    @property
    def encoder_device(self) -> torch.device:
        """Where text encoders are, and image encoders that techniques add; their results belong on `device`."""
        return HOST if self.encoders_on_host else self.device

    @property
    def weight_bytes(self) -> int:
        """The bytes of its parts' weights, those that it shares included."""
        modules = [part for part in self.components.values() if isinstance(part, nn.Module)]
        return sum(parameter.nbytes for module in modules for parameter in module.parameters())

    @property
    @abstractmethod
    def denoiser(self) -> Any:
        """The diffusers model that predicts: its `attn_processors` and `config` are diffusers' own."""

    @property
    @abstractmethod
    def components(self) -> Mapping[str, Any]:
        """Models and tokenizers by the names they have in the diffusers pipeline; LoRA files name them so."""

    @property
    @abstractmethod
    def folder(self) -> Path | None:
        """The diffusers folder it was loaded from, which may hold adapters of its own."""

    @property
    @abstractmethod
    def latent_channels(self) -> int:
        """Channels of a latent: the VAE's, which need not be the denoiser's inputs."""

    @property
    @abstractmethod
    def vae_factor(self) -> int:
        """Pixels per latent cell along a side."""

    @property
    @abstractmethod
    def size_multiple(self) -> int:
        """What width and height of a picture must be multiples of."""

    @abstractmethod
    def condition(
        self, prompts: Sequence[str], negative_prompt: str | None, *, guided: bool, width: int, height: int
    ) -> tuple[Condition, Condition | None]:
        """Return the conditional and, when guided, the unconditional half for prompts (one per picture).

        `negative_prompt=None` means none was given; what stands in its place is the architecture's.
        """

    @abstractmethod
    def build_scheduler(
        self, sampler: str, steps: int, *, width: int, height: int, config: Mapping[str, Any] | None = None
    ) -> Scheduler:
        """Return a scheduler with its timesteps set; `config` replaces the model's own. Raises KeyError for a sampler
        that the architecture does not have."""

    @abstractmethod
    def predict(self, call: DenoiserCall) -> Tensor:
        """Return what the denoiser predicts (rows, channels, h, w); gradients pass where they are enabled."""

    @abstractmethod
    def encode(self, signed: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Return the latents of one picture (1, 3, h, w) in -1..1, float32: the posterior's mode.

        With a CPU `generator`, a sample of the posterior in place of its mode.
        """

    @abstractmethod
    def decode(self, latents: Tensor) -> Tensor:
        """Return latents (n, channels, h, w) as pictures (n, 3, h, w) in about -1..1, float32; gradients pass."""

    @abstractmethod
    def estimate_memory(self, *, rows: int, width: int, height: int) -> Estimate:
        """Return a cautious estimate of the activations of `rows` rows per call; one picture is decoded at a time."""

    @property
    def device(self) -> torch.device:
        """Where the weights are; diffusers' own property walks through all modules each time, a millisecond or more."""
        device: torch.device = next(self.denoiser.parameters()).device
        return device

    def readers(self, most: int | None = None) -> list[tuple[PreTrainedTokenizerBase, int]]:
        """Return the tokenizers of the text encoders that are to read a text whole, and how many tokens each takes.

        `most` is the request's own length of the text, on models where it can be chosen.
        """
        tokenizers = (part for part in self.components.values() if isinstance(part, PreTrainedTokenizerBase))
        return [(tokenizer, tokenizer.model_max_length) for tokenizer in tokenizers]

    def unread(self, text: str, most: int | None = None) -> dict[str, int]:
        """Return the ends of a text that a text encoder does not read, each with the number of tokens it takes."""
        found = {}
        for tokenizer, length in self.readers(most):
            room = length - tokenizer.num_special_tokens_to_add()
            tokens = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True, verbose=False)
            if len(tokens.input_ids) > room and (rest := text[tokens.offset_mapping[room][0] :].strip()):
                found[rest] = length
        return found

    @property
    def attention_layers(self) -> tuple[str, ...]:
        """The names of the denoiser's attention processors, in its order."""
        return tuple(self.denoiser.attn_processors)

    def latent_shape(self, width: int, height: int) -> tuple[int, int, int]:
        """Return (channels, h, w) of the latents of a picture."""
        return self.latent_channels, height // self.vae_factor, width // self.vae_factor

    def preview_cells(self, latents: Tensor) -> Tensor:
        """Return latents (n, channels, h, w) as cells of which each becomes a pixel of a preview."""
        return latents

    def initial_latents(self, noise: Tensor, scheduler: Scheduler) -> Tensor:
        """Return noise (n, channels, h, w) at unit scale as the scheduler starts from it, on the device."""
        return (noise * scheduler.init_noise_sigma).to(self.device)

    def get_or_load(self, key: str, build: Callable[[], Any], *, size: Callable[[], int] | None = None) -> Any:
        """Return what is kept beside the base model under `key` (an adapter, a ControlNet), building it once.

        It is built while the model has the weights it was loaded with. Raises OutOfMemory before that when the bytes of
        `size` are not free on the device.
        """
        with self.lock:
            if key not in self._residents:
                if size is not None:
                    require(size(), self.device, what=key, remedy="it needs a larger device, or fewer models beside it")
                with self.with_original_weights():
                    self._residents[key] = build()
            return self._residents[key]
