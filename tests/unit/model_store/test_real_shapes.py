"""The real SD1.5, SDXL and Qwen3, without weights: names and shapes as published, all layers the techniques name."""

import json
import re
import struct
from pathlib import Path

import pytest
import torch
from accelerate import init_empty_weights
from diffusers import AutoencoderKL, UNet2DConditionModel
from diffusers.loaders.single_file_utils import convert_ldm_unet_checkpoint
from transformers import CLIPTextModel, CLIPTextModelWithProjection, Qwen3Config, Qwen3ForCausalLM

from model_store.add.ip_adapter import adapter_shapes
from model_store.catalogue.entry import Base
from model_store.configs import config_folder
from model_store.load.base import PARTS
from model_store.load.component import _expected, _renaming, check_component, empty_component
from model_store.load.qwen3 import Qwen3TextLayers
from tests.support.layouts import ldm_unet_name

Shapes = dict[str, tuple[int, ...]]

PUBLISHED = {
    ("sd15", "unet"): (686, 859_520_964),
    ("sd15", "vae"): (248, 83_653_863),
    ("sd15", "text_encoder"): (196, 123_060_480),
    ("sdxl", "unet"): (1680, 2_567_463_684),
    ("sdxl", "vae"): (248, 83_653_863),
    ("sdxl", "text_encoder"): (196, 123_060_480),
    ("sdxl", "text_encoder_2"): (517, 694_659_840),
}
"""Tensors and parameters of the published files."""

NAMED: dict[Base, dict[str, int]] = {
    "sd15": {
        r"^up_blocks\.1\.attentions\.[012]\..*attn2$": 3,  # InstantStyle: style
        r"^down_blocks\.2\.attentions\.[01]\..*attn2$": 2,  # InstantStyle: layout
        r"^mid_block\.attentions\.0\..*attn2$": 1,
        r"^up_blocks\.2\.attentions\.[012]\.transformer_blocks\.0\.attn1$": 3,  # StyleID: decoder 6, 7, 8
        r"^up_blocks\.3\.attentions\.[012]\.transformer_blocks\.0\.attn1$": 3,  # StyleID: decoder 9, 10, 11
        r"attn1$": 16,
        r"attn2$": 16,
    },
    "sdxl": {
        r"^up_blocks\.0\.attentions\.1\..*attn2$": 10,  # InstantStyle: style; B-LoRA
        r"^down_blocks\.2\.attentions\.1\..*attn2$": 10,  # InstantStyle: layout
        r"^up_blocks\.[01]\.attentions\.[012]\..*attn2$": 36,  # CSGO: style
        r"^down_blocks\.[12]\.attentions\.[01]\..*attn2$": 24,  # CSGO: content
        r"^up_blocks\.1\.attentions\.[12]\..*attn1$": 4,  # injection on SDXL
        r"attn1$": 70,
        r"attn2$": 70,
    },
}


def transformer(prefix: str, width: int, context: int, depth: int, linear: bool) -> Shapes:
    """Return the tensors of a spatial transformer as LDM names them inside."""
    proj = (width, width) if linear else (width, width, 1, 1)
    shapes: Shapes = {f"{prefix}.norm.weight": (width,), f"{prefix}.norm.bias": (width,)}
    for side in ("proj_in", "proj_out"):
        shapes |= {f"{prefix}.{side}.weight": proj, f"{prefix}.{side}.bias": (width,)}
    for layer in range(depth):
        block = f"{prefix}.transformer_blocks.{layer}"
        for norm in ("norm1", "norm2", "norm3"):
            shapes |= {f"{block}.{norm}.weight": (width,), f"{block}.{norm}.bias": (width,)}
        for which, inside in (("attn1", width), ("attn2", context)):
            shapes |= {f"{block}.{which}.to_q.weight": (width, width), f"{block}.{which}.to_k.weight": (width, inside)}
            shapes |= {f"{block}.{which}.to_v.weight": (width, inside)}
            shapes |= {f"{block}.{which}.to_out.0.weight": (width, width), f"{block}.{which}.to_out.0.bias": (width,)}
        shapes |= {f"{block}.ff.net.0.proj.weight": (8 * width, width), f"{block}.ff.net.0.proj.bias": (8 * width,)}
        shapes |= {f"{block}.ff.net.2.weight": (width, 4 * width), f"{block}.ff.net.2.bias": (width,)}
    return shapes


def resnet(prefix: str, inside: int, outside: int, embedded: int) -> Shapes:
    """Return the tensors of a residual block in LDM names."""
    shapes: Shapes = {f"{prefix}.in_layers.0.weight": (inside,), f"{prefix}.in_layers.0.bias": (inside,)}
    shapes |= {f"{prefix}.in_layers.2.weight": (outside, inside, 3, 3), f"{prefix}.in_layers.2.bias": (outside,)}
    shapes |= {f"{prefix}.emb_layers.1.weight": (outside, embedded), f"{prefix}.emb_layers.1.bias": (outside,)}
    shapes |= {f"{prefix}.out_layers.0.weight": (outside,), f"{prefix}.out_layers.0.bias": (outside,)}
    shapes |= {f"{prefix}.out_layers.3.weight": (outside, outside, 3, 3), f"{prefix}.out_layers.3.bias": (outside,)}
    if inside != outside:
        shapes |= {f"{prefix}.skip_connection.weight": (outside, inside, 1, 1)}
        shapes |= {f"{prefix}.skip_connection.bias": (outside,)}
    return shapes


def published_unet(base: Base) -> Shapes:
    """Return names and shapes of the UNet in the original checkpoint, built from the original's own parameters."""
    widths, context = ([320, 640, 1280, 1280], 768) if base == "sd15" else ([320, 640, 1280], 2048)
    depths, middle = ([1, 1, 1, 0], 1) if base == "sd15" else ([0, 2, 10], 10)
    linear, embedded = base == "sdxl", 1280
    shapes: Shapes = {"time_embed.0.weight": (embedded, 320), "time_embed.0.bias": (embedded,)}
    shapes |= {"time_embed.2.weight": (embedded, embedded), "time_embed.2.bias": (embedded,)}
    if base == "sdxl":
        shapes |= {"label_emb.0.0.weight": (embedded, 2816), "label_emb.0.0.bias": (embedded,)}
        shapes |= {"label_emb.0.2.weight": (embedded, embedded), "label_emb.0.2.bias": (embedded,)}
    shapes |= {"input_blocks.0.0.weight": (320, 4, 3, 3), "input_blocks.0.0.bias": (320,)}
    skips, now, place = [320], 320, 1
    for level, width in enumerate(widths):
        for _ in range(2):
            shapes |= resnet(f"input_blocks.{place}.0", now, width, embedded)
            if depths[level]:
                shapes |= transformer(f"input_blocks.{place}.1", width, context, depths[level], linear)
            now, place = width, place + 1
            skips.append(width)
        if level < len(widths) - 1:
            shapes |= {f"input_blocks.{place}.0.op.weight": (width, width, 3, 3)}
            shapes |= {f"input_blocks.{place}.0.op.bias": (width,)}
            skips.append(width)
            place += 1
    shapes |= resnet("middle_block.0", now, now, embedded) | resnet("middle_block.2", now, now, embedded)
    shapes |= transformer("middle_block.1", now, context, middle, linear)
    place = 0
    for level, width in reversed(list(enumerate(widths))):
        for block in range(3):
            shapes |= resnet(f"output_blocks.{place}.0", now + skips.pop(), width, embedded)
            if depths[level]:
                shapes |= transformer(f"output_blocks.{place}.1", width, context, depths[level], linear)
            if block == 2 and level:
                up = f"output_blocks.{place}.{2 if depths[level] else 1}.conv"
                shapes |= {f"{up}.weight": (width, width, 3, 3), f"{up}.bias": (width,)}
            now, place = width, place + 1
    shapes |= {"out.0.weight": (320,), "out.0.bias": (320,), "out.2.weight": (4, 320, 3, 3), "out.2.bias": (4,)}
    return shapes


@pytest.mark.parametrize(("base", "part"), PUBLISHED)
def test_the_published_configurations_make_the_published_models(base: Base, part: str) -> None:
    model = empty_component(config_folder(base) / part, PARTS[base][part])
    tensors = model.state_dict()
    assert all(tensor.is_meta for tensor in tensors.values())
    assert (len(tensors), sum(tensor.numel() for tensor in tensors.values())) == PUBLISHED[base, part]


@pytest.mark.parametrize("base", ["sd15", "sdxl"])
def test_the_original_names_and_shapes_fit_the_unet_whole(base: Base) -> None:
    unet = empty_component(config_folder(base) / "unet", UNet2DConditionModel)
    original = {
        f"model.diffusion_model.{name}": torch.empty(shape, device="meta")
        for name, shape in published_unet(base).items()
    }
    converted = convert_ldm_unet_checkpoint(dict(original), config=unet.config)
    assert unet.load_state_dict(converted, strict=True, assign=True).missing_keys == []
    names = set(unet.state_dict())
    assert {ldm_unet_name(name, names) for name in names} == set(published_unet(base))


@pytest.mark.parametrize("base", ["sd15", "sdxl"])
def test_every_layer_a_technique_names_is_there(base: Base) -> None:
    unet = empty_component(config_folder(base) / "unet", UNet2DConditionModel)
    layers = [name.removesuffix(".processor") for name in unet.attn_processors]
    for pattern, count in NAMED[base].items():
        assert sum(bool(re.search(pattern, layer)) for layer in layers) == count, pattern


@pytest.mark.parametrize(("base", "last", "count"), [("sd15", 31, 32), ("sdxl", 139, 140)])
def test_ip_adapter_files_of_the_real_models_are_known_layer_by_layer(base: Base, last: int, count: int) -> None:
    shapes = adapter_shapes(config_folder(base))
    assert len(shapes) == count
    assert {int(name.split(".")[1]) % 2 for name in shapes} == {1}
    width = 768 if base == "sd15" else 2048
    assert shapes[f"ip_adapter.{last}.to_k_ip.weight"] == [1280, width]
    assert shapes["ip_adapter.1.to_v_ip.weight"] == [320 if base == "sd15" else 640, width]


def published_text(layers: int, width: int, prefix: str = "text_model.") -> Shapes:
    """Return names and shapes of a CLIP text encoder's published file."""
    shapes: Shapes = {f"{prefix}embeddings.token_embedding.weight": (49408, width)}
    shapes |= {f"{prefix}embeddings.position_embedding.weight": (77, width)}
    for layer in range(layers):
        block = f"{prefix}encoder.layers.{layer}"
        for which in ("q_proj", "k_proj", "v_proj", "out_proj"):
            shapes |= {f"{block}.self_attn.{which}.weight": (width, width), f"{block}.self_attn.{which}.bias": (width,)}
        for norm in ("layer_norm1", "layer_norm2"):
            shapes |= {f"{block}.{norm}.weight": (width,), f"{block}.{norm}.bias": (width,)}
        shapes |= {f"{block}.mlp.fc1.weight": (4 * width, width), f"{block}.mlp.fc1.bias": (4 * width,)}
        shapes |= {f"{block}.mlp.fc2.weight": (width, 4 * width), f"{block}.mlp.fc2.bias": (width,)}
    return shapes | {f"{prefix}final_layer_norm.{part}": (width,) for part in ("weight", "bias")}


def header_only(shapes: Shapes, file: Path) -> None:
    """Write a float16 safetensors file of true size that takes no room on the disk: its data are a hole."""
    entries, at = {}, 0
    for name, shape in shapes.items():
        end = at + 2 * torch.Size(shape).numel()
        entries[name] = {"dtype": "F16", "shape": list(shape), "data_offsets": [at, end]}
        at = end
    raw = json.dumps(entries).encode()
    with file.open("wb") as opened:
        opened.write(struct.pack("<Q", len(raw)) + raw)
        opened.truncate(8 + len(raw) + at)


@pytest.mark.parametrize(
    ("base", "part", "shapes"),
    [
        ("sd15", "text_encoder", published_text(12, 768) | {"text_model.embeddings.position_ids": (1, 77)}),
        ("sdxl", "text_encoder", published_text(12, 768)),
        ("sdxl", "text_encoder_2", published_text(32, 1280) | {"text_projection.weight": (1280, 1280)}),
    ],
)
def test_published_text_encoders_pass_the_check_before_loading(
    base: Base, part: str, shapes: Shapes, tmp_path: Path
) -> None:
    (tmp_path / "config.json").write_bytes((config_folder(base) / part / "config.json").read_bytes())
    header_only(shapes, tmp_path / "model.safetensors")
    kind = CLIPTextModelWithProjection if part == "text_encoder_2" else CLIPTextModel
    check_component(tmp_path, kind)


@pytest.mark.parametrize("old_names", [False, True])
def test_published_autoencoders_pass_in_new_and_old_names(old_names: bool, tmp_path: Path) -> None:
    folder = config_folder("sdxl") / "vae"
    shapes = {name: tuple(tensor.shape) for name, tensor in empty_component(folder, AutoencoderKL).state_dict().items()}
    if old_names:
        for new, old in (("to_q", "query"), ("to_k", "key"), ("to_v", "value"), ("to_out.0", "proj_attn")):
            shapes = {name.replace(f"attentions.0.{new}", f"attentions.0.{old}"): s for name, s in shapes.items()}
        assert "encoder.mid_block.attentions.0.proj_attn.bias" in shapes
    (tmp_path / "config.json").write_bytes((folder / "config.json").read_bytes())
    header_only(shapes, tmp_path / "diffusion_pytorch_model.safetensors")
    check_component(tmp_path, AutoencoderKL)


def qwen3_4b() -> Qwen3Config:
    return Qwen3Config(
        vocab_size=151936,
        hidden_size=2560,
        intermediate_size=9728,
        num_hidden_layers=36,
        num_attention_heads=32,
        num_key_value_heads=8,
        head_dim=128,
        tie_word_embeddings=True,
    )


def test_of_qwen3_27_of_36_layers_are_built_and_the_others_weights_passed_over() -> None:
    config = qwen3_4b()
    with init_empty_weights():
        whole, cut = Qwen3ForCausalLM(config), Qwen3TextLayers(config)
    assert config.num_hidden_layers == 36
    assert sum(p.numel() for p in whole.model.parameters()) / 1e9 == pytest.approx(4.02, abs=0.01)
    assert sum(p.numel() for p in cut.parameters()) / 1e9 == pytest.approx(3.11, abs=0.01)
    expected = _expected(cut)
    rename = _renaming(cut, set(expected), ())
    names = {name: rename(name) for name in whole.state_dict()}
    assert {name for name in names.values() if name is not None} == set(expected)
    assert names["model.layers.26.mlp.up_proj.weight"] == "layers.26.mlp.up_proj.weight"
    assert names["model.layers.27.mlp.up_proj.weight"] is names["model.norm.weight"] is names["lm_head.weight"] is None
