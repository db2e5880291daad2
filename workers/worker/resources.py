"""What a worker keeps: where the files of a base model are, what is loaded of them, the tiers of the style cache."""

from collections.abc import Callable
from pathlib import Path

import torch

from model_store.catalogue import entries
from model_store.catalogue.entry import Base, Entry
from model_store.errors import ModelStoreError
from model_store.load.base import FLUX
from model_store.store.lockfile import read_lock
from model_store.store.presence import presence, require_installed
from workers.contract.errors import Misconfigured
from workers.contract.jobs.models import Terms
from workers.engine.backbones.loras.stack import Finder
from workers.engine.cache.style_cache import StyleCache
from workers.engine.cache.tiers import DiskTier, MemoryTier, Tier
from workers.engine.errors import Refused, WeightsMissing
from workers.engine.memory import available
from workers.settings import WorkerSettings


def device_of(settings: WorkerSettings) -> torch.device:
    """Return the device to run on. Raises Misconfigured when it is not there."""
    if settings.worker_device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    device = torch.device(settings.worker_device)
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise Misconfigured(
            f"STYLIZE_WORKER_DEVICE is {device}, but torch sees {torch.cuda.device_count()} CUDA devices"
        )
    return device


def describe(device: torch.device) -> str:
    """Return the name of a device, and what is free of its memory: a worker on the CPU by mistake shows."""
    if device.type != "cuda":
        return f"the {device.type.upper()}"
    return f"{device} ({torch.cuda.get_device_name(device)}), where {available(device) / 2**30:.1f} GiB are free now"


def locate(model: str, store: Path) -> Path:
    """Return the folder of a base model. Raises Misconfigured with the command that fetches it, if it is missing."""
    try:
        return require_installed(model, store)
    except ModelStoreError as missing:
        raise Misconfigured(f"STYLIZE_MODELS names {model}: {missing}") from missing


def weights(store: Path) -> Callable[[str], Path]:
    """Return what finds a technique's own weights by catalogue id, or raises WeightsMissing."""

    def find(model: str) -> Path:
        try:
            return require_installed(model, store)
        except ModelStoreError as missing:
            raise WeightsMissing(str(missing)) from missing

    return find


def terms(store: Path) -> Callable[[str], Terms]:
    """Return what tells the terms of a model by its catalogue id; of one that was just removed they are unknown."""

    def of(model: str) -> Terms:
        entry = entries(store).get(model)
        if entry is None:
            return Terms(id=model, kind="unknown", licence="unknown")
        licence = entry.licence
        return Terms(
            id=model,
            kind=entry.kind,
            licence=licence.name,
            url=licence.url,
            non_commercial=licence.non_commercial,
            notes=licence.notice,
        )

    return of


def loras(store: Path) -> Finder:
    """Return what finds an installed LoRA for an architecture.

    It raises WeightsMissing naming those that are installed, or Refused for what is no LoRA or for another model.
    """

    def find(model: str, base: Base) -> Path:
        entry = entries(store).get(model)
        if entry is None:
            raise WeightsMissing(f"no LoRA named {model!r}; installed for {base}: {_installed_loras(store, base)}")
        if entry.kind != "lora":
            raise Refused(f"{model} is no LoRA but of kind {entry.kind}")
        if not entry.served:
            raise Refused(f"{model} is no LoRA that a request can name: nothing of this release can use it")
        if not _fits(entry, base):
            raise Refused(f"the LoRA {model} is for {entry.base}, the base model is {base}")
        return weights(store)(model)

    return find


def _fits(entry: Entry, base: Base) -> bool:
    """Return whether a LoRA is for an architecture: one of FLUX.1 is for all its models, of one size throughout."""
    return entry.base in (None, base) or (entry.base == "flux" and base in FLUX)


def _installed_loras(store: Path, base: Base) -> str:
    loras = (entry for entry in entries(store).values() if entry.kind == "lora" and entry.served)
    fitting = [entry.id for entry in loras if _fits(entry, base)]
    lock = read_lock(store)
    there = [model for model in fitting if presence(model, store, lock).state == "installed"]
    return ", ".join(there) or "none (`stylize models add FILE ID` installs one)"


def style_cache(settings: WorkerSettings) -> StyleCache:
    """Return the style cache: GPU memory where there is one, host memory (pinned for a GPU), disk when given room."""
    device = device_of(settings)
    tiers: list[Tier] = []
    if device.type == "cuda":
        tiers.append(MemoryTier("device", settings.worker_cache_device_bytes, device))
    tiers.append(MemoryTier("host", settings.worker_cache_host_bytes, pinned=device.type == "cuda"))
    if settings.worker_cache_disk_bytes:
        tiers.append(DiskTier("disk", settings.worker_cache_disk_bytes, settings.worker_cache_dir))
    return StyleCache(tiers)
