"""CSD: the authors' file on transformers' tower."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn.functional import layer_norm, normalize

from tests.support.techniques.encoder_samples import picture
from tests.support.techniques.instantstyle_plus_requests import CSD_PUBLISHED, csd_file
from workers.engine.backbones import csd
from workers.engine.errors import ModelUnusable

Stored = dict[str, Tensor]
Change = Callable[[Stored], None]


def by_hand(unit: Tensor) -> tuple[Tensor, Tensor]:
    """OpenAI's visual tower without its projection, in its own names, and CSD's two heads."""
    theirs = torch.load(CSD_PUBLISHED, weights_only=True)["model_state_dict"]
    w = {name.removeprefix("module."): t.float() for name, t in theirs.items()}

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
    for one, other in zip(csd.load(csd_file())(unit), by_hand(unit), strict=True):
        assert torch.allclose(one, other, atol=1e-5)


def test_descriptors_have_length_1() -> None:
    assert all(one.norm() == pytest.approx(1) for one in csd.load(csd_file()).describe(picture(3, (90, 60))))


def without(name: str) -> Change:
    def change(found: Stored) -> None:
        del found[name]

    return change


def cut(name: str) -> Change:
    def change(found: Stored) -> None:
        found[name] = found[name][:-1].clone()

    return change


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (without("last_layer_style"), "last_layer_style and last_layer_content are needed"),
        (without("backbone.conv1.weight"), "embeddings.patch_embedding.weight"),
        (
            without("backbone.transformer.resblocks.1.ln_1.weight"),
            r"encoder\.layers\.1\.layer_norm1\.weight is missing",
        ),
        (
            lambda found: found.update({"backbone.proj": torch.zeros(2)}),
            "proj is no part of the tower",
        ),
        (cut("backbone.ln_post.bias"), r"post_layernorm\.bias has shape \(31,\)"),
        (cut("last_layer_style"), r"last_layer_style has shape \(31, 16\)"),
    ],
)
def test_a_wrong_file_says_which_key(tmp_path: Path, change: Change, text: str) -> None:
    found = load_file(csd_file())
    change(found)
    save_file(found, tmp_path / "csd.safetensors")
    with pytest.raises(ModelUnusable, match=text):
        csd.load(tmp_path / "csd.safetensors")
