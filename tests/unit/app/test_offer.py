"""What a host offers follows from its models and its model store."""

from pathlib import Path

from app.offer import Offer
from model_store.catalogue import folder_of
from workers.techniques import registry

SPEC = registry.spec("instantstyle")


def test_without_a_store_at_hand_the_weights_are_taken_to_be_with_the_workers() -> None:
    assert Offer({"tiny-sd15": "sd15"}).installed(SPEC, "tiny-sd15")


def test_a_technique_needs_the_weights_of_the_models_architecture(tmp_path: Path) -> None:
    offer = Offer({"tiny-sd15": "sd15", "tiny-sdxl": "sdxl"}, tmp_path)
    assert not offer.installed(SPEC, "tiny-sd15")
    folder_of("ip-adapter-sd15", tmp_path).mkdir(parents=True)
    assert offer.installed(SPEC, "tiny-sd15")
    assert not offer.installed(SPEC, "tiny-sdxl")


def test_a_model_may_bring_them_along(tmp_path: Path) -> None:
    offer = Offer({"tiny-sd15": "sd15"}, tmp_path)
    (folder_of("tiny-sd15", tmp_path) / "ip-adapter").mkdir(parents=True)
    assert offer.installed(SPEC, "tiny-sd15")


def test_a_technique_without_weights_is_always_installed(tmp_path: Path) -> None:
    assert Offer({"tiny-sd15": "sd15"}, tmp_path).installed(registry.spec("signal-leak"), "tiny-sd15")


def test_a_models_own_size_replaces_the_techniques_default() -> None:
    defaults = Offer({"tiny-sd15": "sd15"}).defaults_of(registry.spec("signal-leak"), "tiny-sd15")
    assert defaults is not None
    assert defaults.width == defaults.height
