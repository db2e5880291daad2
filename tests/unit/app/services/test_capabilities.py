"""What a host offers follows from its models."""

from pathlib import Path

import pytest

from app.capabilities import Capabilities
from app.settings import GatewaySettings
from app.uploads.form_schema import build_stylize_schema
from model_store.catalogue.entry import Entry
from workers.techniques import registry

OFFER = Capabilities({"starter": "sd15"})
SCHEMA = build_stylize_schema(OFFER)


def test_a_models_own_size_replaces_the_techniques_default() -> None:
    spec = registry.spec("signal-leak")
    defaults = OFFER.defaults_of(spec, "starter")
    assert defaults is not None
    assert (defaults.width, defaults.height) != (spec.bases["sd15"].width, spec.bases["sd15"].height)
    assert defaults.steps == spec.bases["sd15"].steps


def test_a_model_of_the_operator_is_offered_at_its_own_size(tmp_path: Path) -> None:
    entry = Entry(id="mine", kind="base", base="sd15", native_size=96, title="Mine", origin="added")
    (tmp_path / "added").mkdir()
    (tmp_path / "added" / "mine.json").write_text(entry.model_dump_json())
    settings = GatewaySettings(models=("mine", "starter"), model_dir=tmp_path)
    assert settings.bases() == {"mine": "sd15", "starter": "sd15"}
    capabilities = Capabilities.of(settings.bases(), tmp_path)
    defaults = capabilities.defaults_of(registry.spec("signal-leak"), "mine")
    assert defaults is not None
    assert (defaults.width, defaults.height) == (96, 96)
    assert "mine" in [entry.id for entry in capabilities.weights["signal-leak"]]
    with pytest.raises(ValueError, match=r"no base model that is served here: yours; .*stylize models add"):
        GatewaySettings(models=("yours",), model_dir=tmp_path)


def test_each_field_of_the_form_is_a_file_or_a_text() -> None:
    assert set(SCHEMA.files) & set(SCHEMA.texts) == {"recipe"}, "which is text or a picture that carries it"


def test_only_aliases_of_registered_techniques_are_offered() -> None:
    assert set(OFFER.aliases.values()) <= set(registry.names())
