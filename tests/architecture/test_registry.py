"""A technique is one folder and one registry line."""

from pathlib import Path

import pytest

from workers.techniques import registry

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("name", registry.names())
def test_the_spec_names_its_technique(name: str) -> None:
    spec = registry.spec(name)
    assert spec.name == name
    assert registry.technique(name).spec is spec


@pytest.mark.parametrize("name", registry.names())
def test_the_defaults_are_within_the_parameters(name: str) -> None:
    spec = registry.spec(name)
    assert spec.params().model_dump() is not None
    assert spec.params_schema()["additionalProperties"] is False


def test_every_folder_is_registered() -> None:
    techniques = ROOT / "workers/techniques"
    folders = {
        spec.parent.relative_to(techniques).as_posix().replace("/", ".") for spec in techniques.glob("*/*/spec.py")
    }
    assert folders == set(registry.FOLDERS.values())
