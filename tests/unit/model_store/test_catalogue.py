import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import ValidationError

from model_store.catalogue import base_of, entries, entry_of, folder_of, needed_by, shipped_entries, with_required
from model_store.catalogue.entry import Entry, WantedFile, safe_path
from model_store.errors import NotInstalled, StoreDamaged, UnknownModel
from model_store.store.files import replace_with
from model_store.store.lockfile import PinnedFile, PinnedModel, pin, read_lock
from model_store.store.presence import presence, require_installed
from tests.unit.model_store.conftest import Register
from workers.techniques import registry
from workers.training.starter.recipe import RECIPES

ROOT = Path(__file__).parents[3]


def test_the_lookups_the_gateway_uses() -> None:
    assert [base_of(model) for model in ("starter", "sd15", "sdxl")] == ["sd15", "sd15", "sdxl"]
    assert [base_of(f"flux1-{form}") for form in ("dev", "schnell", "fill")] == ["flux", "flux-schnell", "flux-fill"]
    assert {base_of(f"flux1-{form}") for form in ("canny", "depth")} == {"flux-control"}
    assert {base_of(f"flux2-klein-{form}") for form in ("4b", "9b", "9b-kv")} == {"flux2-klein"}
    assert {base_of(f"flux2-klein-base-{form}") for form in ("4b", "9b")} == {"flux2-klein-base"}
    for unknown in ("nothing", "ip-adapter-sdxl", "flux1-kontext", "flux1-redux", "flux1-canny-lora", ""):
        with pytest.raises(KeyError, match=r"no model named|is not a base model"):
            base_of(unknown)
    assert folder_of("sd15", Path("/store")) == Path("/store/models/sd15")
    assert folder_of("starter", Path("/store")) == ROOT / "model_store" / "starter" / "weights"


def test_every_entry_is_whole() -> None:
    assert len(with_required(entries())) == len(entries())
    for entry in entries().values():
        assert entry.licence.name, entry.id
        assert set(entry.requires) <= set(entries()), entry.id
        targets = [file.target for file in entry.files]
        assert len(set(targets)) == len(targets), entry.id
        for file in entry.files:
            kinds = (".safetensors", ".json", ".txt") if file.convert is None else (".bin", ".ckpt", ".pth")
            assert file.path.endswith(kinds) or file.path.endswith("/*"), (entry.id, file.path)
        if entry.origin == "hub":
            assert entry.repository is not None
            assert entry.repository.count("/") == 1


def test_what_is_not_served_says_so() -> None:
    for entry in entries().values():
        if entry.kind == "base":
            assert entry.served == (entry.base is not None), entry.id
        if entry.techniques:
            assert entry.served == any(name in registry.names() for name in entry.techniques), entry.id
        assert all(entries()[required].served for required in entry.requires) or not entry.served, entry.id


def test_every_entry_of_the_hub_says_its_size() -> None:
    assert [entry.id for entry in entries().values() if entry.origin == "hub" and not entry.about_mb] == []


@pytest.mark.parametrize(
    ("repository", "paths"),
    [
        ("h94/IP-Adapter", ("models/ip-adapter_sd15", "models/ip-adapter_sd15_light", "models/ip-adapter-plus_sd15")),
        ("h94/IP-Adapter", ("sdxl_models/ip-adapter_sdxl", "sdxl_models/ip-adapter_sdxl_vit-h")),
        ("h94/IP-Adapter", ("sdxl_models/ip-adapter-plus_sdxl_vit-h", "sdxl_models/image_encoder/model")),
        ("qth/DEADiff", ("deadiff_v1",)),
        ("InstantX/CSGO", ("csgo", "csgo_4_32")),
        ("tomg-group-umd/CSD-ViT-L", ("pytorch_model",)),
        ("xinsir/controlnet-tile-sdxl-1.0", ("diffusion_pytorch_model",)),
        ("diffusers/controlnet-depth-sdxl-1.0", ("diffusion_pytorch_model",)),
        ("diffusers/controlnet-canny-sdxl-1.0", ("diffusion_pytorch_model",)),
        ("madebyollin/sdxl-vae-fp16-fix", ("diffusion_pytorch_model",)),
        ("guozinan/PuLID", ("pulid_flux_v0.9.0", "pulid_flux_v0.9.1")),
        ("Yuanshi/OminiControl", ("omini/subject_512", "omini/subject_1024_beta", "experimental/fill")),
        ("bytedance-research/USO", ("uso_flux_v1.0/dit_lora", "uso_flux_v1.0/projector")),
        ("black-forest-labs/FLUX.1-Redux-dev", ("flux1-redux-dev", "image_encoder/")),
        ("black-forest-labs/FLUX.1-Canny-dev-lora", ("flux1-canny-dev-lora",)),
        ("black-forest-labs/FLUX.1-Depth-dev-lora", ("flux1-depth-dev-lora",)),
        ("LiheYoung/depth-anything-large-hf", ("model",)),
        ("depth-anything/Depth-Anything-V2-Small-hf", ("model",)),
        ("black-forest-labs/FLUX.1-Fill-dev", ("transformer/",)),
        ("black-forest-labs/FLUX.1-Canny-dev", ("transformer/",)),
        ("black-forest-labs/FLUX.1-Depth-dev", ("transformer/",)),
        ("black-forest-labs/FLUX.1-Kontext-dev", ("transformer/",)),
        ("black-forest-labs/FLUX.2-klein-4B", ("transformer/",)),
        ("black-forest-labs/FLUX.2-klein-9B", ("transformer/",)),
        ("matthias-wright/art_inception", ("art_inception",)),
    ],
)
def test_the_weights_that_the_specifications_name_are_there(repository: str, paths: tuple[str, ...]) -> None:
    named = [file.path for entry in entries().values() if entry.repository == repository for file in entry.files]
    for path in paths:
        assert any(name.startswith(path) and "config" not in name for name in named), path


def test_gated_and_non_commercial_are_marked() -> None:
    assert entry_of("flux1-redux").licence.gated
    assert {entry.licence.gated for entry in entries().values() if entry.id.startswith("flux1-")} == {True, False}
    open_models = [entry.id for entry in entries().values() if entry.id[:4] == "flux" and not entry.licence.gated]
    assert open_models == ["flux1-schnell", "flux2-klein-4b", "flux2-klein-base-4b"]
    assert entry_of("flux1-dev").licence.non_commercial
    assert entry_of("deadiff").licence.non_commercial
    assert not entry_of("flux2-klein-4b").licence.non_commercial


def test_what_a_method_needs() -> None:
    assert needed_by("instantstyle", "sdxl") == ("sdxl", "clip-vit-bigg", "ip-adapter-sdxl")
    assert set(needed_by("instantstyle", "sd15")) == {"sd15", "clip-vit-h", "clip-vit-h-text", "ip-adapter-sd15"}
    assert set(needed_by("csgo", "sdxl")) >= {
        "csgo",
        "sdxl-vae-fp16-fix",
        "clip-vit-bigg",
        "controlnet-tile-sdxl-ttplanet",
    }
    assert needed_by("signal-leak", "sd15") == ("sd15",)
    loras = {"flux1-canny-lora", "flux1-depth-lora"}
    assert set(needed_by("redux", "flux1-dev")) == {"flux1-dev", "flux1-redux", "depth-anything-v2-small", *loras}
    assert set(needed_by("redux", "flux1-canny")) == {"flux1-canny", "flux1-redux", "depth-anything-v2-small"}
    assert needed_by("redux-fill", "flux1-fill") == ("flux1-fill", "flux1-redux")
    assert needed_by("fill", "flux1-fill") == ("flux1-fill",)
    with pytest.raises(UnknownModel):
        needed_by("instantstyle", "clip-vit-h")


@pytest.mark.parametrize("name", registry.names())
def test_what_a_technique_says_it_needs_is_pulled_for_it(name: str) -> None:
    spec = registry.spec(name)
    for model in (entry for entry in shipped_entries().values() if entry.kind == "base" and entry.base in spec.bases):
        fitting = {weights for weights in spec.weights if entry_of(weights).base in (None, model.base)}
        assert fitting <= set(needed_by(name, model.id)), model.id


def test_what_is_required_comes_once_and_first(store: Path, register: Register) -> None:
    register("a", "x.json")
    register("b", "x.json", requires=("a",))
    register("c", "x.json", requires=("a", "b"))
    assert with_required(["c", "a"], store) == ("a", "b", "c")


@pytest.mark.parametrize(
    "path", ["", "/x", "../x", "a/../../x", "a//b", "a/", ".hidden", "a/.git/x", "a\\b", "a\0b", "."]
)
def test_paths_stay_inside(path: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        safe_path(path)
    with pytest.raises(ValidationError):
        WantedFile(path=path)


@pytest.mark.parametrize(
    "wrong",
    [
        {"id": "Up"},
        {"id": "../x"},
        {"kind": "other"},
        {"surprise": 1},
        {"files": [{"path": "a.bin", "convert": "plain"}]},
        {"files": [{"path": "*.json", "save_as": "b.json"}]},
        {"files": []},
        {"repository": None},
        {"folder": "elsewhere"},
    ],
)
def test_a_malformed_entry_is_refused(wrong: dict[str, object]) -> None:
    right = {"id": "x", "kind": "vae", "title": "x", "repository": "a/b", "files": [{"path": "a.json"}]}
    Entry.model_validate(right)
    with pytest.raises(ValidationError):
        Entry.model_validate({**right, **wrong})


def test_presence_goes_by_pins_names_and_sizes(store: Path, register: Register) -> None:
    register("thing", "a.json", "b.json")
    assert presence("thing", store).state == "missing"
    folder = folder_of("thing", store)
    folder.mkdir(parents=True)
    for name in ("a.json", "b.json"):
        (folder / name).write_text("{}")
    assert presence("thing", store).state == "missing", "files that nobody pinned do not count"
    pins = {name: PinnedFile(size=2, sha256="0" * 64) for name in ("a.json", "b.json")}
    pin(store, "thing", PinnedModel(revision="r", files=pins))
    assert presence("thing", store).state == "installed"
    (folder / "b.json").write_text("{ }")
    found = presence("thing", store)
    assert (found.state, found.missing, found.command) == ("partial", ("b.json",), "stylize models pull thing")
    with pytest.raises(NotInstalled, match=r"thing is partial .*b\.json.*run: stylize models pull thing"):
        require_installed("thing", store)
    (folder / "b.json").unlink()
    (folder / "b.json").symlink_to(folder / "a.json")
    assert presence("thing", store).missing == ("b.json",)


def test_a_damaged_store_says_which_file(store: Path) -> None:
    replace_with(store / "added" / "x.json", b"{")
    with pytest.raises(StoreDamaged, match=r"added/x\.json"):
        entries(store)
    replace_with(store / "lock.json", b'{"version": 2}')
    with pytest.raises(StoreDamaged, match=r"lock\.json"):
        read_lock(store)


def test_an_operators_entry_never_hides_one_of_ours(store: Path, register: Register) -> None:
    register("sd15", "x.json", repository="evil/sd15")
    assert entry_of("sd15", store).repository == "stable-diffusion-v1-5/stable-diffusion-v1-5"


@pytest.mark.parametrize(
    "module", ["model_store.catalogue", "model_store.store.presence", "model_store.cli", "model_store.fetch.pull"]
)
def test_the_gateways_side_never_imports_torch(module: str) -> None:
    code = f"import sys, {module}; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


def test_the_starter_says_what_it_knows_and_that_it_is_a_demonstration() -> None:
    starter = entry_of("starter", Path("/store"))
    assert starter.knows == RECIPES["cpu"].objects
    assert "demonstration model" in starter.notes
    assert "stylize models pull sdxl" in starter.notes
