"""The real FLUX models without their weights: names and shapes accepted, bytes and operations counted."""

from pathlib import Path

import pytest
import torch
from diffusers.pipelines.flux.modeling_flux import ReduxImageEncoder
from transformers import SiglipVisionModel

from model_store.load.base import PARTS
from model_store.load.component import check_component
from tests.support.published import flux, flux2
from workers.engine.residency.placement import HOST, PartPlacement, WeightStorage
from workers.engine.residency.plan import plan, weight_bytes

BF16 = torch.bfloat16
DEVICE = torch.device("meta")
TRANSFORMER_GB, T5_GB, CLIP_GB, VAE_GB, SIGLIP_GB, PROJECTOR_GB, LORA_GB = 23.80, 9.53, 0.25, 0.34, 0.86, 0.13, 1.24
"""As computed from the published configurations; the VAE is kept in float32."""


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with all models, their weights holes that take no room."""
    root = tmp_path_factory.mktemp("published")
    for form in flux.FORMS:
        flux.write_flux(root / form, form)
    flux.write_redux(root / "flux1-redux")
    flux2.write_klein(root / "flux2-klein-4b")
    flux.write_hollow(flux.control_lora_shapes(), root / "lora.safetensors")
    return root


@pytest.mark.parametrize("form", flux.FORMS)
def test_the_forms_of_flux_are_accepted_by_name_and_shape(form: str, published: Path) -> None:
    parts = ("transformer",) if form != "flux1-dev" else tuple(PARTS["flux"])
    numbers = {}
    for part in parts:
        model = check_component(published / form / part, PARTS["flux"][part])
        numbers[part] = sum(parameter.numel() for parameter in model.parameters())
    assert numbers["transformer"] == pytest.approx(11.90e9, rel=1e-3)


def test_redux_and_its_siglip_are_accepted(published: Path) -> None:
    projector = check_component(published / "flux1-redux" / "image_embedder", ReduxImageEncoder)
    assert set(projector.state_dict()) == {
        f"redux_{way}.{part}" for way in ("up", "down") for part in ("weight", "bias")
    }
    tower = check_component(published / "flux1-redux" / "image_encoder", SiglipVisionModel)
    assert sum(parameter.numel() for parameter in tower.parameters()) == pytest.approx(428e6, rel=1e-2)


@pytest.mark.parametrize("part", PARTS["flux2-klein"])
def test_klein_is_accepted_and_the_layers_that_are_not_read_are_left_out(part: str, published: Path) -> None:
    model = check_component(published / "flux2-klein-4b" / part, PARTS["flux2-klein"][part])
    numbers = sum(parameter.numel() for parameter in model.parameters())
    expected = {"transformer": 3.88e9, "text_encoder": 3.11e9, "vae": 84.0e6}
    assert numbers == pytest.approx(expected[part], rel=5e-3)


def bytes_of(folder: Path, given: tuple[str, ...] = (), storage: WeightStorage = "full") -> float:
    base = "flux2-klein" if "klein" in folder.name else "flux"
    return sum(part.size for part in plan(folder, base, PartPlacement(DEVICE, BF16, storage), given)) / 1e9


def test_the_plan_counts_what_the_table_of_memory_says(published: Path) -> None:
    sizes = {part.name: part.size / 1e9 for part in plan(published / "flux1-dev", "flux", PartPlacement(DEVICE, BF16))}
    assert sizes == pytest.approx(
        {"transformer": TRANSFORMER_GB, "text_encoder_2": T5_GB, "text_encoder": CLIP_GB, "vae": VAE_GB}, rel=0.02
    )
    redux = {
        part: weight_bytes(published / "flux1-redux" / part, BF16) / 1e9 for part in ("image_encoder", "image_embedder")
    }
    assert redux == pytest.approx({"image_encoder": SIGLIP_GB, "image_embedder": PROJECTOR_GB}, rel=0.02)
    lora = weight_bytes(published / "lora.safetensors", BF16) / 1e9
    assert lora == pytest.approx(LORA_GB, rel=0.02)
    together = sum(sizes.values()) + sum(redux.values()) + 2 * lora
    assert together == pytest.approx(37.4, rel=0.02)
    shared = ("text_encoder", "text_encoder_2", "vae")
    assert together + bytes_of(published / "flux1-fill", shared) == pytest.approx(61.2, rel=0.02)
    both = sum(bytes_of(published / form, shared) for form in ("flux1-fill", "flux1-canny", "flux1-depth"))
    assert together - 2 * lora + both == pytest.approx(106, rel=0.02)


def test_the_text_encoders_on_the_host_leave_the_device(published: Path) -> None:
    planned = plan(published / "flux1-dev", "flux", PartPlacement(DEVICE, BF16, encoders_on_host=True))
    on_host = sum(part.size for part in planned if part.device == HOST) / 1e9
    assert on_host == pytest.approx(T5_GB + CLIP_GB, rel=0.02)


def test_klein_takes_what_the_table_of_memory_says(published: Path) -> None:
    sizes = {
        part.name: part.size / 1e9
        for part in plan(published / "flux2-klein-4b", "flux2-klein", PartPlacement(DEVICE, BF16))
    }
    assert sizes == pytest.approx({"transformer": 7.75, "text_encoder": 6.2, "vae": 0.336}, rel=0.02)


@pytest.mark.parametrize(("model", "gb"), [("flux1-dev", 15.15), ("flux2-klein-4b", 3.9)])
def test_float8_makes_the_transformer_as_small_as_its_norms_allow(model: str, gb: float, published: Path) -> None:
    others = ("text_encoder", "text_encoder_2", "vae")
    assert bytes_of(published / model, others, "float8") == pytest.approx(gb, rel=0.02)
