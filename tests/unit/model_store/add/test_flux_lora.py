"""LoRAs of FLUX.1 at `models add`: named `flux` from every layout, and what would be lost or misread refused by key."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import FluxPipeline, FluxTransformer2DModel
from safetensors.torch import load_file, save_file
from torch import nn

from model_store.add.add import add
from model_store.configs import config_folder
from model_store.errors import BadCheckpoint, WrongKeys
from model_store.load.component import empty_component
from model_store.load.flux_names import DOUBLE, OUTER, SINGLE, diffusers_layers
from model_store.load.lora import WEIGHTS, read_lora
from tests.support.techniques.flux_lora_files import WRITERS, FluxChange, draw, write

Tensors = dict[str, torch.Tensor]
Tiny = Callable[[str], Path]


@pytest.fixture(scope="module")
def pipe(tiny: Tiny) -> Any:
    return FluxPipeline.from_pretrained(tiny("flux"), local_files_only=True)


@pytest.fixture
def change(pipe: Any) -> FluxChange:
    return draw(pipe)


def tensors_of(change: FluxChange, layout: str) -> Tensors:
    return {name: tensor.clone() for name, tensor in WRITERS[layout](change)}


def refused(tensors: Tensors, words: str, tmp_path: Path, *, base: Any = None, **metadata: str) -> None:
    save_file(tensors, tmp_path / "some.safetensors", metadata or None)
    with pytest.raises(WrongKeys, match=words):
        add(tmp_path / "some.safetensors", "mine", tmp_path / "store", base=base)
    assert not (tmp_path / "store" / "models" / "mine").exists()


@pytest.mark.parametrize("layout", WRITERS)
def test_every_layout_is_a_lora_of_flux(layout: str, change: FluxChange, store: Path, tmp_path: Path) -> None:
    entry = add(write(layout, change, tmp_path / "made"), "mine", store)
    assert (entry.kind, entry.base) == ("lora", "flux")
    assert [file.path for file in entry.files] == [WEIGHTS]
    found = read_lora(store / "models" / "mine" / WEIGHTS, "flux", None)
    assert {part for part, layers in found.items() if layers} == {"transformer"}
    deltas = change.deltas()["transformer"]
    left_out = {name for name in deltas if layout == "xlabs" and name.endswith("proj_mlp.weight")}
    assert {f"{layer}.weight" for layer in found["transformer"]} == deltas.keys() - left_out
    for layer, halves in found["transformer"].items():
        torch.testing.assert_close(halves.scale * halves.up @ halves.down, deltas[f"{layer}.weight"])


@pytest.mark.parametrize("layout", ["xlabs", "diffusers"])
def test_what_diffusers_reads_rightly_is_read_alike(layout: str, change: FluxChange, tmp_path: Path) -> None:
    file = write(layout, change, tmp_path / "made")
    theirs = FluxPipeline.lora_state_dict(load_file(file))
    ours = read_lora(file, "flux", None)["transformer"]
    assert len(theirs) == 2 * len(ours)
    for layer, halves in ours.items():
        assert torch.equal(halves.down, theirs[f"transformer.{layer}.lora_A.weight"])
        assert torch.equal(halves.up, theirs[f"transformer.{layer}.lora_B.weight"])


def test_the_parts_of_the_text_encoders_are_read(pipe: Any, store: Path, tmp_path: Path) -> None:
    change = draw(pipe, whole=True)
    for layout in ("kohya", "comfyui", "diffusers"):
        add(write(layout, change, tmp_path / layout), layout, store)
        found = read_lora(store / "models" / layout / WEIGHTS, "flux", None)
        assert {part: len(layers) for part, layers in found.items()} == {
            "transformer": len(change.deltas()["transformer"]),
            "text_encoder": 2,
            "text_encoder_2": 2,
        }


def test_underscores_of_diffusers_names_and_the_header_alphas(change: FluxChange, store: Path, tmp_path: Path) -> None:
    halves = dict(WRITERS["diffusers"](change))
    flat = {
        f"lora_transformer_{name.removeprefix('transformer.').rsplit('.lora_', 1)[0].replace('.', '_')}"
        f".lora_{'down' if '.lora_A.' in name else 'up'}.weight": half.clone()
        for name, half in halves.items()
    }
    save_file(flat, tmp_path / "flat.safetensors")
    assert add(tmp_path / "flat.safetensors", "flat", store).base == "flux"
    found = read_lora(store / "models" / "flat" / WEIGHTS, "flux", None)["transformer"]
    assert {f"transformer.{layer}.lora_B.weight" for layer in found} == {name for name in halves if "lora_B" in name}
    stated = {"lora_adapter_metadata": json.dumps({"transformer.r": 4, "transformer.lora_alpha": 10})}
    save_file({name: half.clone() for name, half in halves.items()}, tmp_path / "stated.safetensors", stated)
    add(tmp_path / "stated.safetensors", "stated", store)
    assert {
        one.scale for one in read_lora(store / "models" / "stated" / WEIGHTS, "flux", None)["transformer"].values()
    } == {2.5}


@pytest.mark.parametrize("layout", [layout for layout in WRITERS if layout != "peft"])
def test_a_tensor_that_would_be_lost_is_named(layout: str, change: FluxChange, tmp_path: Path) -> None:
    tensors = tensors_of(change, layout)
    some = next(name for name in tensors if name.endswith(("up.weight", "lora_B.weight")))
    fewer = {name: tensor for name, tensor in tensors.items() if name != some}
    refused(fewer, f"{some}: missing", tmp_path)
    for strange in ("text_encoders.other.q", "double_blocks.0.img_attn.norm", "lora_te2_nothing"):
        more = {f"{strange}.lora_{half}.weight": torch.ones(4, 4) for half in "AB"}
        refused(tensors | more, rf"{strange}.lora_A.weight: FLUX.1 has no such layer", tmp_path)
    refused(tensors | {"double_blocks.0.img_attn.qkv.diff": torch.ones(4, 4)}, r"qkv\.diff: of a kind", tmp_path)
    refused(tensors | {"lora_unet_double_blocks_0_img_attn_qkv.dora_scale": torch.ones(4)}, "dora_scale", tmp_path)


def test_a_block_that_flux_has_not_is_named(change: FluxChange, tmp_path: Path) -> None:
    moved = {name.replace("blocks.0.", "blocks.38."): tensor for name, tensor in tensors_of(change, "bfl").items()}
    refused(moved, r"transformer_blocks\.38\..*: flux has no such layer", tmp_path)


def test_two_names_of_one_layer_are_not_chosen_from(change: FluxChange, tmp_path: Path) -> None:
    refused(tensors_of(change, "bfl") | tensors_of(change, "diffusers"), "stands in the file twice", tmp_path)


def test_the_authors_control_lora_is_no_style(tiny: Tiny, tmp_path: Path) -> None:
    tensors = load_file(tiny("flux-control-lora") / "flux1-canny-dev-lora.safetensors")
    words = r"belongs to a control LoRA, .*params\.control: stylize models pull flux1-canny-lora"
    refused(tensors, words, tmp_path)
    halves = {name: half for name, half in tensors.items() if name.endswith((".lora_A.weight", ".lora_B.weight"))}
    refused(halves, r"img_in\.lora_A\.weight: reads 128 channels; .*control LoRAs", tmp_path)


def test_one_of_fill_is_for_fill(change: FluxChange, store: Path, tmp_path: Path) -> None:
    first = {"img_in.lora_A.weight": torch.ones(4, 384), "img_in.lora_B.weight": torch.ones(32, 4)}
    save_file(tensors_of(change, "bfl") | first, tmp_path / "fill.safetensors")
    assert add(tmp_path / "fill.safetensors", "mine", store).base == "flux-fill"


FLUX2 = {
    "single_transformer_blocks.0.attn.to_qkv_mlp_proj": (4, 36),
    "transformer_blocks.0.ff.linear_in": (4, 24),
    "double_stream_modulation_img.lin": (4, 24),
}


@pytest.mark.parametrize("layer", FLUX2)
def test_a_lora_of_flux_2_is_called_so(layer: str, change: FluxChange, tmp_path: Path) -> None:
    width, rows = FLUX2[layer]
    more = {f"{layer}.lora_A.weight": torch.ones(2, width), f"{layer}.lora_B.weight": torch.ones(rows, 2)}
    refused(tensors_of(change, "bfl") | more, f"{layer}.* is made for FLUX.2, whose LoRAs are not served", tmp_path)
    refused(tensors_of(change, "bfl"), "flux2_klein_4b", tmp_path, ss_base_model_version="flux2_klein_4b")
    refused(tensors_of(change, "bfl"), "LoRAs of FLUX.2 are not served", tmp_path, base="flux2-klein")


@pytest.mark.parametrize(
    ("layer", "rows", "columns"),
    [("single_blocks.0.linear1", 9, 1), ("single_blocks.0.linear2", 1, 4), ("double_blocks.0.img_mlp.0", 6, 1)],
)
def test_its_proportions_are_not_those_of_flux_1(layer: str, rows: int, columns: int, tmp_path: Path) -> None:
    halves = {
        f"diffusion_model.{layer}.lora_A.weight": torch.ones(2, 32 * columns),
        f"diffusion_model.{layer}.lora_B.weight": torch.ones(32 * rows, 2),
    }
    refused(halves, "it was made for another model", tmp_path)


def test_another_base_than_the_names_say_is_refused(change: FluxChange, tmp_path: Path) -> None:
    refused(tensors_of(change, "kohya"), r"is made for FLUX\.1", tmp_path, base="sd15")
    flat = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k"
    halves = {f"{flat}.lora_down.weight": torch.ones(2, 768), f"{flat}.lora_up.weight": torch.ones(320, 2)}
    refused(halves, rf"{flat}\.lora_down\.weight: FLUX.1 has no such layer", tmp_path, base="flux")


def test_double_blocks_alone_tell_the_base_by_their_width(store: Path, tmp_path: Path) -> None:
    for width in (3072, 1536):
        name = "transformer.transformer_blocks.0.attn.to_q"
        halves = {f"{name}.lora_A.weight": torch.ones(1, width), f"{name}.lora_B.weight": torch.ones(width, 1)}
        save_file(halves, tmp_path / f"{width}.safetensors")
    assert add(tmp_path / "3072.safetensors", "wide", store).base == "flux"
    with pytest.raises(BadCheckpoint):
        add(tmp_path / "1536.safetensors", "narrow", store)
    assert add(tmp_path / "1536.safetensors", "narrow", store, base="flux").base == "flux"


def test_every_linear_layer_of_the_real_model_is_found_by_the_authors_names(store: Path, tmp_path: Path) -> None:
    model = empty_component(config_folder("flux") / "transformer", FluxTransformer2DModel)
    weights = {f"{name}.weight": layer.weight for name, layer in model.named_modules() if isinstance(layer, nn.Linear)}
    names = [*OUTER, *(f"double_blocks.{n}.{name}" for n in range(19) for name in DOUBLE)]
    names += [f"single_blocks.{n}.{name}" for n in range(38) for name in SINGLE]
    tensors: Tensors = {}
    for name in names:
        shapes = [weights[f"{layer}.weight"].shape for layer in diffusers_layers(name)]
        tensors[f"lora_unet_{name.replace('.', '_')}.lora_down.weight"] = torch.zeros(1, shapes[0][1])
        tensors[f"lora_unet_{name.replace('.', '_')}.lora_up.weight"] = torch.zeros(sum(rows for rows, _ in shapes), 1)
    save_file(tensors, tmp_path / "whole.safetensors")
    add(tmp_path / "whole.safetensors", "whole", store)
    found = read_lora(store / "models" / "whole" / WEIGHTS, "flux", None)["transformer"]
    assert {f"{layer}.weight": (len(halves.up), halves.down.shape[1]) for layer, halves in found.items()} == {
        name: tuple(weight.shape) for name, weight in weights.items()
    }
