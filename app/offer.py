"""What this host offers: the methods registered and the base models served."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from app.intake.fields import Field, fields
from app.intake.form import Shape
from model_store.catalogue import entry_of, folder_of
from workers.techniques import registry
from workers.techniques.spec import Base, Defaults, Spec

MAX_STYLE_IMAGES = 4


@dataclass(frozen=True)
class Offer:
    """The served models and their architectures, the default first, and the model store if it is at hand."""

    bases: Mapping[str, Base]
    store: Path | None = None

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

    @cached_property
    def fields(self) -> dict[str, Field]:
        """The text fields of a request."""
        return fields((*registry.names(), *self.aliases), tuple(self.bases))

    @cached_property
    def shape(self) -> Shape:
        """The fields of a request's form."""
        return Shape(tuple(self.fields), {"style_image": MAX_STYLE_IMAGES, "content_image": 1, "control_image": 1})

    def models_of(self, spec: Spec) -> list[str]:
        """Return the served models that a technique runs on."""
        return [model for model, base in self.bases.items() if base in spec.bases]

    def installed(self, spec: Spec, model: str) -> bool:
        """Return whether what a technique needs beside a model is here; a model may bring it along in its own folder.

        Without a model store to look into, it is taken to be where the workers are.
        """
        if self.store is None:
            return True
        needed = (entry_of(weights) for weights in spec.weights)
        own = folder_of(model, self.store)
        return all(
            (own / entry.kind).is_dir() or folder_of(entry.id, self.store).is_dir()
            for entry in needed
            if entry.base in (None, self.bases[model])
        )

    def defaults_of(self, spec: Spec, model: str) -> Defaults | None:
        """Return what a request gets when it does not say, at the model's own size; None when it does not run there."""
        defaults = spec.bases.get(self.bases[model])
        side = entry_of(model).native_size
        return defaults.model_copy(update={"width": side, "height": side}) if defaults and side else defaults
