"""CSD: the authors' file on transformers' tower."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import layer_norm, normalize

from model_store.convert.pickled import convert_pickled
from tests.unit.techniques.encoder.instantstyle_plus.asking import CSD_FILE
from tests.unit.techniques.encoder.samples import picture
from workers.pipelines.errors import ModelUnusable
from workers.techniques.encoder.instantstyle_plus import csd


def stored() -> dict[str, Any]:
    return torch.load(CSD_FILE, weights_only=True)


def by_hand(unit: Tensor) -> tuple[Tensor, Tensor]:
    """OpenAI's visual tower without its projection, in its own names, and CSD's two heads."""
    w = {name.removeprefix("module."): t.float() for name, t in stored()["model_state_dict"].items()}

    def norm(x: Tensor, name: str) -> Tensor:
        return layer_norm(x, (32,), w[f"backbone.{name}.weight"], w[f"backbone.{name}.bias"])

    mean = torch.tensor([0.48145466, 0.4578275, 0.40821073])[:, None, None]
    std = torch.tensor([0.26862954, 0.26130258, 0.27577711])[:, None, None]
    cells = torch.conv2d((unit - mean) / std, w["backbone.conv1.weight"], stride=32).flatten(2).transpose(1, 2)
    first = w["backbone.class_embedding"].expand(len(unit), 1, -1)
    x = norm(torch.cat([first, cells], dim=1) + w["backbone.positional_embedding"], "ln_pre")
    for layer in range(2):
        block = f"transformer.resblocks.{layer}"
        own = {name.split(f"{block}.")[1]: t for name, t in w.items() if block in name}
        y = norm(x, f"{block}.ln_1")
        q, k, v = (y @ own["attn.in_proj_weight"].T + own["attn.in_proj_bias"]).chunk(3, -1)
        q, k, v = (t.unflatten(-1, (4, 8)).transpose(1, 2) for t in (q, k, v))
        seen = torch.softmax(q @ k.transpose(-1, -2) / 8**0.5, -1) @ v
        x = x + seen.transpose(1, 2).flatten(2) @ own["attn.out_proj.weight"].T + own["attn.out_proj.bias"]
        h = norm(x, f"{block}.ln_2") @ own["mlp.c_fc.weight"].T + own["mlp.c_fc.bias"]
        h = h * torch.sigmoid(1.702 * h)
        x = x + h @ own["mlp.c_proj.weight"].T + own["mlp.c_proj.bias"]
    feature = norm(x[:, 0], "ln_post")
    return normalize(feature @ w["last_layer_style"], dim=-1), normalize(feature @ w["last_layer_content"], dim=-1)


def test_it_computes_what_the_tower_does() -> None:
    unit = torch.rand(2, 3, 224, 224, generator=torch.Generator().manual_seed(1))
    for one, other in zip(csd.load(CSD_FILE)(unit), by_hand(unit), strict=True):
        assert torch.allclose(one, other, atol=1e-5)


def test_the_converted_file_describes_the_same(tmp_path: Path) -> None:
    convert_pickled(CSD_FILE, tmp_path / "csd.safetensors", "csd")
    image = picture(3, (90, 60))
    theirs, ours = csd.load(CSD_FILE).describe(image), csd.load(tmp_path / "csd.safetensors").describe(image)
    assert all(torch.equal(one, other) for one, other in zip(theirs, ours, strict=True))
    assert all(one.norm() == pytest.approx(1) for one in theirs)


def without(name: str) -> Callable[[dict[str, Any]], None]:
    def change(found: dict[str, Any]) -> None:
        del found["model_state_dict"][f"module.{name}"]

    return change


def cut(name: str) -> Callable[[dict[str, Any]], None]:
    def change(found: dict[str, Any]) -> None:
        found["model_state_dict"][f"module.{name}"] = found["model_state_dict"][f"module.{name}"][:-1]

    return change


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda found: found.pop("model_state_dict"), "cannot be read as CSD.*model_state_dict"),
        (without("last_layer_style"), "last_layer_style and last_layer_content are needed"),
        (without("backbone.conv1.weight"), "embeddings.patch_embedding.weight"),
        (
            without("backbone.transformer.resblocks.1.ln_1.weight"),
            r"encoder\.layers\.1\.layer_norm1\.weight is missing",
        ),
        (
            lambda found: found["model_state_dict"].update({"module.backbone.proj": torch.zeros(2)}),
            "proj is no part of the tower",
        ),
        (cut("backbone.ln_post.bias"), r"post_layernorm\.bias has shape \(31,\)"),
        (cut("last_layer_style"), r"last_layer_style has shape \(31, 16\)"),
    ],
)
def test_a_wrong_file_says_which_key(tmp_path: Path, change: Callable[[dict[str, Any]], None], text: str) -> None:
    found = stored()
    change(found)
    torch.save(found, tmp_path / "csd.pth")
    with pytest.raises(ModelUnusable, match=text):
        csd.load(tmp_path / "csd.pth")
