"""What a host offers follows from its models."""

from app.offer import Offer
from workers.techniques import registry

OFFER = Offer({"tiny-sd15": "sd15"})


def test_a_models_own_size_replaces_the_techniques_default() -> None:
    spec = registry.spec("signal-leak")
    defaults = OFFER.defaults_of(spec, "tiny-sd15")
    assert defaults is not None
    assert (defaults.width, defaults.height) != (spec.bases["sd15"].width, spec.bases["sd15"].height)
    assert defaults.steps == spec.bases["sd15"].steps


def test_each_field_and_file_of_the_form_is_known_once() -> None:
    assert not set(OFFER.shape.files) & set(OFFER.shape.texts)


def test_only_aliases_of_registered_techniques_are_offered() -> None:
    assert set(OFFER.aliases.values()) <= set(registry.names())
