import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from diffusers import StableDiffusionPipeline, UNet2DConditionModel
from safetensors.torch import load_file, save_file

from model_store.add.add import add
from model_store.catalogue import base_of, entry_of, folder_of
from model_store.catalogue.entry import Base, Licence
from model_store.errors import AlreadyKnown, BadCheckpoint, MalformedFile, NotInstalled, WrongKeys
from model_store.load.base import PARTS
from model_store.load.component import load_component
from model_store.load.tensors import load_tensors
from model_store.store.presence import presence
from model_store.store.verify import verify
from tests.support import layouts

Tiny = Callable[[str], Path]


def weights_of(folder: Path, base: Base) -> dict[str, torch.Tensor]:
    """Return the tensors of every component as the models themselves name them."""
    found = {}
    for part, kind in PARTS[base].items():
        found |= {f"{part}.{name}": value for name, value in load_component(folder / part, kind).state_dict().items()}
    return found


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("base", ["sd15", "sdxl"])
def test_a_single_file_in_ldm_names(base: Base, whole: Tiny, store: Path, tmp_path: Path) -> None:
    save_file(layouts.single_file(whole(base)), tmp_path / "mine.safetensors")
    entry = add(tmp_path / "mine.safetensors", "mine", store, configs=whole(base), licence=Licence(name="CC0"))
    assert (entry.kind, entry.base, entry.origin) == ("base", base, "added")
    assert base_of("mine", store) == base
    assert entry.native_size == {"sd15": 64, "sdxl": 128}[base]
    assert presence("mine", store).state == "installed"
    assert [finding.fault for finding in verify("mine", store)] == [None] * len(entry.files)
    assert same(weights_of(folder_of("mine", store), base), weights_of(whole(base), base))
    assert list((store / "incoming").iterdir()) == []


@pytest.mark.parametrize("base", ["sd15", "sdxl"])
def test_a_diffusers_folder(base: Base, tiny: Tiny, store: Path) -> None:
    add(tiny(base), "mine", store)
    assert same(weights_of(folder_of("mine", store), base), weights_of(tiny(base), base))
    with pytest.raises(AlreadyKnown):
        add(tiny(base), "mine", store)


@pytest.mark.parametrize(
    "part",
    [
        "first_stage_model.decoder.conv_out.weight",
        "cond_stage_model.transformer",
        "cond_stage_model.transformer.text_model.encoder.layers.1",
        "model.diffusion_model.middle_block.1.proj_in.weight",
    ],
)
def test_a_single_file_with_a_gap_is_refused(part: str, tiny: Tiny, store: Path, tmp_path: Path) -> None:
    whole = layouts.single_file(tiny("sd15"))
    gone = sorted(name for name in whole if name.startswith(part))[0]
    save_file({name: tensor for name, tensor in whole.items() if name != gone}, tmp_path / "gap.safetensors")
    with pytest.raises(BadCheckpoint, match="gap"):
        add(tmp_path / "gap.safetensors", "mine", store, configs=tiny("sd15"))
    with pytest.raises(KeyError):
        entry_of("mine", store)
    assert not (store / "models" / "mine").exists()


def test_a_single_file_says_how_to_get_tokenizers(tiny: Tiny, store: Path, tmp_path: Path) -> None:
    save_file(layouts.single_file(tiny("sd15")), tmp_path / "mine.safetensors")
    with pytest.raises(NotInstalled, match="stylize models pull sd15-tokenizer"):
        add(tmp_path / "mine.safetensors", "mine", store)


def test_a_folder_with_a_wrong_or_missing_tensor_names_file_and_key(tiny: Tiny, store: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny("sd15"), tmp_path / "copy")
    file = tmp_path / "copy" / "unet" / "diffusion_pytorch_model.safetensors"
    good = load_file(file)
    bad = {**good, "conv_in.weight": torch.zeros(32, 4, 3, 4)}
    save_file(bad, file)
    with pytest.raises(WrongKeys, match=r"diffusion_pytorch_model\.safetensors: conv_in\.weight: has shape"):
        add(tmp_path / "copy", "mine", store)
    save_file({name: tensor for name, tensor in good.items() if name != "conv_in.bias"}, file)
    with pytest.raises(WrongKeys, match=r"diffusion_pytorch_model\.safetensors: conv_in\.bias: missing"):
        add(tmp_path / "copy", "mine", store)
    save_file({**good, "conv_in.extra": torch.zeros(1)}, file)
    with pytest.raises(WrongKeys, match=r"conv_in\.extra: the model has no such tensor"):
        add(tmp_path / "copy", "mine", store)


def test_a_folder_with_links_is_refused(tiny: Tiny, store: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny("sd15"), tmp_path / "copy")
    (tmp_path / "copy" / "tokenizer" / "notes.txt").symlink_to("/etc/passwd")
    with pytest.raises(MalformedFile, match=r"notes\.txt"):
        add(tmp_path / "copy", "mine", store)


def noise_of(unet: UNet2DConditionModel) -> torch.Tensor:
    chance = torch.Generator().manual_seed(3)
    sample, text = torch.randn(1, 4, 8, 8, generator=chance), torch.randn(1, 5, 32, generator=chance)
    with torch.inference_mode():
        return unet(sample, 500, encoder_hidden_states=text).sample


@pytest.mark.parametrize("layout", ["kohya", "diffusers", "old-diffusers", "peft"])
def test_every_lora_layout_changes_the_picture_alike(layout: str, tiny: Tiny, store: Path, tmp_path: Path) -> None:
    pipeline = StableDiffusionPipeline.from_pretrained(tiny("sd15"), safety_checker=None, local_files_only=True)
    factors = layouts.low_rank(pipeline.unet)
    plain = noise_of(pipeline.unet)
    expected = load_component(tiny("sd15") / "unet", UNet2DConditionModel)
    for name, (down, up) in factors.items():
        weight = expected.get_submodule(name).weight
        weight.data = weight.data + 2 * up @ down
    file = layouts.lora(layout, factors, tmp_path / layout)
    entry = add(file, "mine", store, base="sd15")
    assert (entry.kind, entry.base) == ("lora", "sd15")
    pipeline.load_lora_weights(
        folder_of("mine", store), weight_name="pytorch_lora_weights.safetensors", local_files_only=True
    )
    assert (noise_of(expected) - plain).abs().max() > 0.1
    assert torch.allclose(noise_of(pipeline.unet), noise_of(expected), atol=1e-4)


def test_a_lora_tells_its_base_by_the_width_of_the_text(store: Path, tmp_path: Path) -> None:
    for width, base in ((768, "sd15"), (2048, "sdxl")):
        name = "unet.down_blocks.1.attentions.0.transformer_blocks.0.attn2.to_k"
        tensors = {f"{name}.lora_A.weight": torch.ones(2, width), f"{name}.lora_B.weight": torch.ones(640, 2)}
        save_file(tensors, tmp_path / f"{base}.safetensors")
        assert add(tmp_path / f"{base}.safetensors", f"lora-{base}", store).base == base


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda t, name: t.update({f"{name}.dora_scale": torch.ones(4)}), "dora_scale"),
        (lambda t, name: t.update({f"{name}.lora_A.weight": torch.full((2, 768), float("nan"))}), "not finite"),
        (lambda t, name: t.pop(f"{name}.lora_B.weight"), r"lora_B\.weight: missing"),
        (lambda t, name: t.update({f"{name}.lora_B.weight": torch.ones(640, 3)}), "disagree"),
        (lambda t, name: t.update({f"{name}.hada_w1_a": torch.ones(4)}), "hada_w1_a"),
    ],
)
def test_a_lora_that_would_load_in_part_is_refused(change: object, words: str, store: Path, tmp_path: Path) -> None:
    name = "unet.down_blocks.1.attentions.0.transformer_blocks.0.attn2.to_k"
    tensors = {f"{name}.lora_A.weight": torch.ones(2, 768), f"{name}.lora_B.weight": torch.ones(640, 2)}
    change(tensors, name)
    save_file(tensors, tmp_path / "bad.safetensors")
    with pytest.raises(WrongKeys, match=words):
        add(tmp_path / "bad.safetensors", "mine", store)


@pytest.mark.parametrize(
    ("base", "suffix", "plus"),
    [
        ("sd15", "bin", False),
        ("sd15", "safetensors", False),
        ("sd15", "safetensors", True),
        ("sdxl", "safetensors", False),
        ("sdxl", "safetensors", True),
    ],
)
def test_every_ip_adapter_layout(base: Base, suffix: str, plus: bool, tiny: Tiny, store: Path, tmp_path: Path) -> None:
    unet = load_component(tiny(base) / "unet", UNet2DConditionModel)
    nested = layouts.ip_adapter(unet, plus=plus)
    file = tmp_path / f"adapter.{suffix}"
    if suffix == "bin":
        torch.save(nested, file)
    else:
        save_file(layouts.flattened(nested), file)
    entry = add(file, "mine", store, base=base, configs=tiny(base))
    assert (entry.kind, entry.base) == ("ip-adapter", base)
    loaded = layouts.nested(load_tensors(folder_of("mine", store) / "ip_adapter.safetensors"))
    assert all(same(loaded[part], nested[part]) for part in nested)
    unet._load_ip_adapter_weights([loaded])
    assert sum("IPAdapter" in type(each).__name__ for each in unet.attn_processors.values()) * 2 == len(
        nested["ip_adapter"]
    )


def test_an_ip_adapter_for_another_unet_names_the_key(tiny: Tiny, store: Path, tmp_path: Path) -> None:
    unet = load_component(tiny("sd15") / "unet", UNet2DConditionModel)
    flat = layouts.flattened(layouts.ip_adapter(unet))
    save_file({**flat, "ip_adapter.3.to_k_ip.weight": torch.zeros(8, 32)}, tmp_path / "a.safetensors")
    with pytest.raises(WrongKeys, match=r"ip_adapter\.3\.to_k_ip\.weight: has shape \[8, 32\]"):
        add(tmp_path / "a.safetensors", "mine", store, base="sd15", configs=tiny("sd15"))
    flat.pop("ip_adapter.5.to_v_ip.weight")
    save_file(flat, tmp_path / "b.safetensors")
    with pytest.raises(WrongKeys, match=r"ip_adapter\.5\.to_v_ip\.weight"):
        add(tmp_path / "b.safetensors", "mine", store, base="sd15", configs=tiny("sd15"))


def test_what_is_nothing_of_ours_is_named(store: Path, tmp_path: Path) -> None:
    save_file({"double_blocks.0.x": torch.zeros(1)}, tmp_path / "flux.safetensors")
    with pytest.raises(WrongKeys, match="FLUX"):
        add(tmp_path / "flux.safetensors", "mine", store)
    save_file({"something": torch.zeros(1)}, tmp_path / "other.safetensors")
    with pytest.raises(WrongKeys, match="something"):
        add(tmp_path / "other.safetensors", "mine", store)
    with pytest.raises(NotInstalled):
        add(tmp_path / "absent.safetensors", "mine", store)


def test_an_unserved_unet_is_refused(tiny: Tiny, store: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny("sd15"), tmp_path / "copy")
    config = tmp_path / "copy" / "unet" / "config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "in_channels": 9}))
    with pytest.raises(BadCheckpoint, match="inpainting"):
        add(tmp_path / "copy", "mine", store)
