"""Base models from the store onto this worker's device: placed as the settings say, planned before they are loaded."""

import logging
from pathlib import Path

import torch

from model_store.errors import ModelStoreError
from workers.contract.errors import Misconfigured
from workers.engine.backbones.base import Backbone
from workers.engine.backbones.load import architecture, load
from workers.engine.errors import ModelUnusable
from workers.engine.memory import SPARE
from workers.engine.residency.placement import PartPlacement
from workers.engine.residency.plan import lacking, part_keys, plan
from workers.engine.residency.shared_parts import SharedParts
from workers.engine.residency.weight_storage import missing_package
from workers.settings import WorkerSettings
from workers.worker.resources import describe, device_of, locate

log = logging.getLogger(__name__)

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


class BaseModelLoader:
    """Loads base models of a store by id; parts with the same files are loaded once."""

    def __init__(self, settings: WorkerSettings, store: Path) -> None:
        """Raise Misconfigured for a device or a package that is not there."""
        storage = settings.worker_transformer_weights
        if package := missing_package(storage):
            raise Misconfigured(
                f"STYLIZE_WORKER_TRANSFORMER_WEIGHTS is {storage}, which needs the package {package}; "
                f"run: pip install {package}"
            )
        device = device_of(settings)
        default = torch.bfloat16 if device.type == "cuda" else torch.float32
        dtype = DTYPES.get(settings.worker_dtype, default)
        self._store = store
        self._placement = PartPlacement(device, dtype, storage, settings.worker_encoders == "host")
        self._shared = SharedParts()

    def load(self, model: str) -> Backbone:
        """Return a base model. Raises Misconfigured when it is not installed, or ModelUnusable."""
        placement = self._placement
        loaded = load(
            locate(model, self._store),
            name=model,
            device=placement.device,
            dtype=placement.dtype,
            weight_storage=placement.weight_storage,
            encoders_on_host=placement.encoders_on_host,
            shared=self._shared,
        )
        kind = str(loaded.dtype).removeprefix("torch.")
        kept = "" if loaded.weight_storage == "full" else f", its transformer kept as {loaded.weight_storage},"
        log.info("%s is loaded in %s%s on %s", model, kind, kept, describe(placement.device))
        return loaded

    def lacking(self, model: str) -> str:
        """Return in a sentence which memory is too small now for a model's weights; empty where they fit.

        What only the model itself can tell, that it is broken, is left to `load`.
        """
        try:
            folder = locate(model, self._store)
            base = architecture(folder).base
            given = self._shared.loaded(part_keys(folder, base, self._placement))
            planned = plan(folder, base, self._placement, given)
        except (Misconfigured, ModelUnusable, ModelStoreError):
            return ""
        return lacking(planned, model, SPARE)
