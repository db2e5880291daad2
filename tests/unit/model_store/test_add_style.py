"""Trained styles and statistics of the operator: what is whole goes in as it is, everything else is named."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from model_store.add.add import add
from model_store.catalogue import entry_of, folder_of
from model_store.errors import BadCheckpoint, ModelStoreError
from model_store.store.presence import presence
from model_store.store.verify import verify

LORA = "pytorch_lora_weights.safetensors"
TUNED = "diffusion_pytorch_model.safetensors"
LAYER = "unet.down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q"


def style(folder: Path, *, weights: str = LORA) -> Path:
    folder.mkdir()
    facts = {"base": "sd15", "model": "tiny-sd15", "width": 64, "height": 64}
    (folder / "style.json").write_text(json.dumps(facts))
    statistics(folder)
    halves = {f"{LAYER}.lora_A.weight": torch.ones(2, 32), f"{LAYER}.lora_B.weight": torch.ones(32, 2)}
    save_file(halves if weights == LORA else {"conv_in.weight": torch.zeros(32, 4, 3, 3)}, folder / weights)
    return folder


def statistics(folder: Path, kind: str = "pixel", **tensors: torch.Tensor) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "statistic_type.txt").write_text(kind)
    shape = (4, 8, 8)
    found = tensors or {"mean_pixels": torch.zeros(shape), "var_pixels": torch.ones(shape)}
    save_file(found, folder / "stats.safetensors")
    return folder


@pytest.mark.parametrize("weights", [LORA, TUNED])
def test_a_trained_style(weights: str, store: Path, tmp_path: Path) -> None:
    source = style(tmp_path / "made", weights=weights)
    (source / "notes.py").write_text("raise SystemExit")
    entry = add(source, "ink", store)
    assert (entry.kind, entry.base, entry.origin) == ("style", "sd15", "added")
    assert {path.name for path in folder_of("ink", store).iterdir()} == {
        *("style.json", "statistic_type.txt", "stats.safetensors", weights)
    }
    assert presence("ink", store).state == "installed"
    assert [finding.fault for finding in verify("ink", store)] == [None] * 4
    stored = load_file(folder_of("ink", store) / weights)
    assert all(torch.equal(stored[name], tensor) for name, tensor in load_file(source / weights).items())


def test_statistics_alone_fit_any_base(store: Path, tmp_path: Path) -> None:
    assert (add(statistics(tmp_path / "made"), "tones", store).base) is None
    parts = {"mean_lf_components": torch.zeros(12), "cov_lf_components": torch.eye(12)}
    parts |= {"mean_hf_remainder": torch.zeros(4, 8, 8), "var_hf_remainder": torch.ones(4, 8, 8)}
    assert add(statistics(tmp_path / "dct", "dct+pixel", **parts), "dct", store, base="sdxl").base == "sdxl"


def without(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).unlink()


def having(name: str, text: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        (folder / name).write_text(text)

    return change


def tensors(name: str, **found: torch.Tensor) -> Callable[[Path], None]:
    return lambda folder: save_file(found, folder / name)


def link(folder: Path) -> None:
    (folder / "stats.safetensors").rename(folder.parent / "elsewhere")
    (folder / "stats.safetensors").symlink_to(folder.parent / "elsewhere")


CELLS = torch.zeros(4, 8, 8)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (without(LORA), f"holds no tuned weights: {LORA}"),
        (without("stats.safetensors"), r"stats\.safetensors is missing"),
        (without("statistic_type.txt"), r"statistic_type\.txt is missing"),
        (having("style.json", '{"base": "flux"}'), r"style\.json: base: "),
        (having("style.json", '{"base": "sd15", "width": 512}'), r"mean_pixels: has shape \[4, 8, 8\], not of 512"),
        (having("statistic_type.txt", "mood"), "statistics of type 'mood'"),
        (having("stats.safetensors", "pickled"), r"stats\.safetensors: not a safetensors file"),
        (having(LORA, "pickled"), rf"{LORA}: not a safetensors file"),
        (tensors("stats.safetensors", mean_pixels=CELLS), r"stats\.safetensors: var_pixels: missing"),
        (tensors("stats.safetensors", mean_pixels=CELLS, var_pixels=CELLS[:3].clone()), "must have one shape"),
        (tensors("stats.safetensors", mean_pixels=CELLS, var_pixels=CELLS / 0), "var_pixels: has values that are not"),
        (tensors(LORA, **{f"{LAYER}.lora_A.weight": torch.ones(2, 32)}), rf"{LORA}: .*lora_B\.weight: missing"),
        (tensors(LORA, surprise=torch.ones(1)), rf"{LORA}: surprise: of a kind that would not be loaded"),
        (link, r"stats\.safetensors: is a link"),
    ],
)
def test_what_is_not_whole_is_named_and_not_added(
    spoil: Callable[[Path], None], words: str, store: Path, tmp_path: Path
) -> None:
    spoil(style(tmp_path / "made"))
    with pytest.raises(ModelStoreError, match=words):
        add(tmp_path / "made", "ink", store)
    with pytest.raises(KeyError):
        entry_of("ink", store)
    assert not (store / "models" / "ink").exists()


def test_tuned_weights_of_another_network_and_another_base_are_refused(store: Path, tmp_path: Path) -> None:
    source = style(tmp_path / "made", weights=TUNED)
    with pytest.raises(BadCheckpoint, match="was trained on sd15, not on sdxl"):
        add(source, "ink", store, base="sdxl")
    save_file({"double_blocks.0.weight": torch.zeros(1)}, source / TUNED)
    with pytest.raises(BadCheckpoint, match=r"double_blocks\.0\.weight: the UNet of sd15 has no such tensor"):
        add(source, "ink", store)
    with pytest.raises(BadCheckpoint, match="a trained style has pixel statistics, not dct"):
        parts = {"mean_lf_components": torch.zeros(12), "cov_lf_components": torch.eye(12)}
        parts |= {"mean_hf_remainder": CELLS, "var_hf_remainder": CELLS + 1}
        add(statistics(source, "dct+pixel", **parts), "ink", store)


@pytest.mark.parametrize(
    ("name", "words"),
    [("unet.nowhere.to_q", "unet.nowhere.to_q: sd15 has no such layer"), ("text_encoder.nowhere.q_proj", "nowhere")],
)
def test_a_tuned_lora_that_no_job_could_use_is_refused(name: str, words: str, store: Path, tmp_path: Path) -> None:
    source = style(tmp_path / "made")
    halves = {f"{name}.lora_A.weight": torch.ones(2, 32), f"{name}.lora_B.weight": torch.ones(32, 2)}
    save_file(halves, source / LORA)
    with pytest.raises(BadCheckpoint, match=words):
        add(source, "ink", store)
    assert not (store / "models" / "ink").exists()


@pytest.mark.parametrize(
    ("variance", "words"),
    [(-torch.ones(4, 8, 8), "negative"), (torch.full((4, 8, 8), float("nan")).to(torch.float8_e4m3fn), "not finite")],
)
def test_a_variance_that_is_none_is_refused(variance: torch.Tensor, words: str, store: Path, tmp_path: Path) -> None:
    source = statistics(tmp_path / "made", mean_pixels=torch.zeros(4, 8, 8), var_pixels=variance)
    with pytest.raises(BadCheckpoint, match=words):
        add(source, "tones", store)
