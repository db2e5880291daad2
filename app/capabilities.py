"""What this host offers: the methods registered and the base models served."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from model_store.catalogue import entry_of, needed_by
from model_store.catalogue.entry import Base, Entry
from model_store.catalogue.evaluation import MethodFigures, evaluation_of
from workers.contract.spec import Defaults, Spec
from workers.techniques import registry
from workers.techniques.measured import rank_methods

UNMEASURED = "encoder"
"""The default method of a model on which nothing was measured, where it takes what is given."""


@dataclass(frozen=True)
class Capabilities:
    """The served models and their architectures, the default first."""

    bases: Mapping[str, Base]
    store: Path | None = None
    """Folder of the model store, where the operator's own models are described."""

    @classmethod
    def of(cls, bases: Mapping[str, Base], store: Path) -> "Capabilities":
        """Return the offer, all specs read: a broken one shows at the start, not at the first request."""
        capabilities = cls(bases, store)
        assert capabilities.specs
        assert capabilities.entries.keys() == bases.keys()
        return capabilities

    @cached_property
    def entries(self) -> dict[str, Entry]:
        """What the catalogue says about each served model."""
        return {model: entry_of(model, self.store) for model in self.bases}

    @cached_property
    def weights(self) -> dict[str, tuple[Entry, ...]]:
        """What each technique runs on where it is served: the base models, and what the catalogue has beside them."""
        return {spec.name: tuple(self._weights_of(spec)) for spec in self.specs}

    def _weights_of(self, spec: Spec) -> Iterator[Entry]:
        needed = (name for model in self.models_of(spec) for name in needed_by(spec.name, model, self.store))
        return (entry_of(name, self.store) for name in dict.fromkeys(needed))

    @property
    def default_model(self) -> str:
        """The model of a request that names none."""
        return next(iter(self.bases))

    @cached_property
    def specs(self) -> tuple[Spec, ...]:
        """The specs of all registered techniques."""
        return tuple(registry.spec(name) for name in registry.names())

    @cached_property
    def aliases(self) -> dict[str, str]:
        """The family names that mean a registered technique."""
        return {alias: name for alias, name in registry.ALIASES.items() if name in registry.names()}

    def models_of(self, spec: Spec) -> list[str]:
        """Return the served models that a technique runs on."""
        return [model for model, base in self.bases.items() if base in spec.bases]

    @cached_property
    def measured(self) -> dict[str, tuple[MethodFigures, ...]]:
        """What was measured of the methods on each served model, the best first; nothing for most models."""
        return {model: rank_methods(evaluation_of(self.entries[model]), base) for model, base in self.bases.items()}

    def best_measured(self, model: str, *, content: bool, references: int = 1) -> MethodFigures | None:
        """Return the figures of the best measured method that takes what is given; None when none was measured."""
        fitting = (one for one in self.measured[model] if _takes(registry.spec(one.method), content, references))
        return next(fitting, None)

    def default_method(self, model: str, *, content: bool, mask: bool = False, references: int = 1) -> str:
        """Return the method of a request that names none: the best measured that takes what is given."""
        best = None if mask else self.best_measured(model, content=content, references=references)
        if best is not None:
            return best.method
        usual = registry.spec(UNMEASURED)
        running = (spec for spec in self.specs if self.bases[model] in spec.bases)
        return next((spec.name for spec in (usual, *running) if _takes(spec, content, references, mask)), usual.name)

    def defaults_of(self, spec: Spec, model: str) -> Defaults | None:
        """Return what a request gets when it does not say, at the model's own size; None when it does not run there."""
        defaults = spec.bases.get(self.bases[model])
        side = self.entries[model].native_size
        return defaults.model_copy(update={"width": side, "height": side}) if defaults and side else defaults

    def own_pixels(self, method: str, model: str) -> int:
        """Return the pixels of a picture at a model's own size; the default model's where none is named."""
        served = model if model in self.bases else self.default_model
        named = [spec for spec in self.specs if spec.name == method]
        found = (self.defaults_of(spec, served) for spec in (*named, *self.specs))
        return next(own.width * own.height for own in found if own is not None)


def _takes(spec: Spec, content: bool, references: int, mask: bool = False) -> bool:
    """Return whether a technique draws from so many style images, with or without content image and mask."""
    least, most = spec.inputs.references
    without = {True: "none", False: "required"}
    fits = spec.inputs.content_image != without[content] and spec.inputs.mask_image != without[mask]
    return least <= references <= most and fits
