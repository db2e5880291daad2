"""What `models add` refuses, in one line, leaving nothing: names that are none, files that no job could use."""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

from model_store.add.add import add
from model_store.cli import create
from model_store.errors import BadCheckpoint, InvalidId, MalformedFile, WrongKeys
from model_store.load.header import read_header

LAYER = "unet.down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_k"
Tensors = dict[str, torch.Tensor]


def halves(rank: int = 2, dtype: torch.dtype = torch.float32, value: float = 0.1) -> Tensors:
    down, up = torch.full((rank, 768), value), torch.full((320, rank), value)
    return {f"{LAYER}.lora_A.weight": down.to(dtype), f"{LAYER}.lora_B.weight": up.to(dtype)}


def lora(folder: Path, tensors: Tensors, **metadata: str) -> Path:
    file = folder / "some.safetensors"
    save_file(tensors, file, metadata or None)
    return file


def left(store: Path) -> set[str]:
    return {str(path.relative_to(store)) for path in store.rglob("*") if path.is_file()} if store.exists() else set()


@pytest.mark.parametrize("model", ["../../evil", "a/b", "My Model", "SD15", "", ".", "x" * 65, "a\nb", "-a", "ü"])
def test_an_id_that_is_none_is_refused_before_anything_is_read(model: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidId, match="cannot be an id"):
        add(tmp_path / "nothing", model, tmp_path / "store")
    assert left(tmp_path) == set()


@pytest.mark.parametrize(
    ("tensors", "words"),
    [
        (halves(rank=0), "rank 0"),
        (halves(rank=9000), "rank 9000"),
        (halves(dtype=torch.int32), "floating"),
        (halves(dtype=torch.bool), "floating"),
        (halves(value=float("nan")), "not finite"),
        (halves(value=3e38), "not finite"),
        ({name.replace("attn2.to_k", "nowhere.to_k"): half for name, half in halves().items()}, "no such layer"),
        ({"lora_unet_a.alpha": torch.tensor(1.0)} | halves(), "alpha"),
    ],
)
def test_a_lora_that_no_job_could_use_is_refused(tensors: Tensors, words: str, store: Path, tmp_path: Path) -> None:
    with pytest.raises(BadCheckpoint, match=words):
        add(lora(tmp_path, tensors), "mine", store, base="sd15")
    assert not (store / "models" / "mine").exists()


@pytest.mark.parametrize("metadata", ["[]", "1", "not JSON", '{"unet.lora_alpha": "many"}', '{"unet.lora_alpha": [1]}'])
def test_metadata_that_cannot_be_read_is_refused(metadata: str, store: Path, tmp_path: Path) -> None:
    with pytest.raises(WrongKeys):
        add(lora(tmp_path, halves(), lora_adapter_metadata=metadata), "mine", store, base="sd15")


def test_an_alpha_is_one_number(store: Path, tmp_path: Path) -> None:
    flat = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k"
    down, up = halves().values()
    tensors = {f"{flat}.lora_down.weight": down, f"{flat}.lora_up.weight": up, f"{flat}.alpha": torch.ones(2)}
    with pytest.raises(WrongKeys, match="one number"):
        add(lora(tmp_path, tensors), "mine", store, base="sd15")


def test_eight_bit_numbers_are_kept_as_wide_ones(store: Path, tmp_path: Path) -> None:
    add(lora(tmp_path, halves(dtype=torch.float8_e4m3fn)), "mine", store, base="sd15")
    (file,) = (store / "models" / "mine").glob("*.safetensors")
    assert {tensor.dtype for tensor in load_file(file).values()} == {torch.float32}


def test_the_suffix_may_be_in_capitals(store: Path, tmp_path: Path) -> None:
    shutil.move(lora(tmp_path, halves()), tmp_path / "SOME.SAFETENSORS")
    assert add(tmp_path / "SOME.SAFETENSORS", "mine", store, base="sd15").kind == "lora"


def test_hidden_files_stay_behind(tiny: Callable[[str], Path], store: Path, tmp_path: Path) -> None:
    source = tmp_path / "mac"
    shutil.copytree(tiny("sd15"), source)
    for file in list(source.rglob("*.json")):
        (file.parent / f"._{file.name}").write_bytes(b"\0\5\x16\7Mac OS X")
    entry = add(source, "mine", store)
    assert not [file.path for file in entry.files if "/." in f"/{file.path}"]


@pytest.mark.parametrize("part", ["unet", "vae", "text_encoder"])
def test_a_base_model_with_values_that_are_not_finite_is_refused(
    part: str, tiny: Callable[[str], Path], store: Path, tmp_path: Path
) -> None:
    source = tmp_path / "nan"
    shutil.copytree(tiny("sd15"), source)
    (file,) = (source / part).glob("*.safetensors")
    tensors = load_file(file)
    name = next(iter(tensors))
    tensors[name].view(-1)[0] = float("nan")
    save_file(tensors, file, {"format": "pt"})
    with pytest.raises(WrongKeys, match=rf"{part}/.*: {re.escape(name)}: has values that are not finite"):
        add(source, "mine", store)
    assert not (store / "models" / "mine").exists()


def test_a_base_model_of_whole_numbers_is_refused(tiny: Callable[[str], Path], store: Path, tmp_path: Path) -> None:
    source = tmp_path / "int8"
    shutil.copytree(tiny("sd15"), source)
    file = source / "unet" / "diffusion_pytorch_model.safetensors"
    tensors = load_file(file)
    tensors["conv_in.weight"] = tensors["conv_in.weight"].to(torch.int8)
    save_file(tensors, file, {"format": "pt"})
    with pytest.raises(WrongKeys, match=r"conv_in\.weight: is of type I8, not of floating numbers"):
        add(source, "mine", store)


@pytest.mark.parametrize("shape", [[2**62, 2**62, 0], [1] * 100_000, [2**62] * 8 + [0], [2**41, 0]], ids=len)
def test_a_shape_that_no_tensor_has_is_refused(shape: list[int], tmp_path: Path) -> None:
    size = 4 if 0 not in shape else 0
    header = json.dumps({"a": {"dtype": "F32", "shape": shape, "data_offsets": [0, size]}}).encode()
    (tmp_path / "odd.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + bytes(size))
    with pytest.raises(MalformedFile, match="too large"):
        read_header(tmp_path / "odd.safetensors")


def test_the_command_says_what_it_added_and_nothing_of_libraries(tmp_path: Path) -> None:
    command = (sys.executable, "-m", "model_store.cli", "--store", str(tmp_path / "store"), "add")
    source = lora(tmp_path, halves())
    done = subprocess.run((*command, str(source), "mine"), capture_output=True, text=True, check=True, timeout=300)
    assert (done.stdout, done.stderr) == ("mine: lora for sd15, 1 files\n", "")


@pytest.mark.parametrize("name", ["lora-metadata-list", "empty"])
def test_the_command_never_shows_a_traceback(name: str, tmp_path: Path) -> None:
    files = {
        "lora-metadata-list": lora(tmp_path, halves(), lora_adapter_metadata="[]"),
    }
    source = files.get(name, tmp_path / f"{name}.safetensors")
    if not source.exists():
        source.write_bytes(b"\x08\0\0\0\0\0\0\0{}      ")
    done = CliRunner().invoke(create(lambda: tmp_path / "store"), ["add", str(source), "mine"])
    assert done.exit_code == 1
    assert isinstance(done.exception, SystemExit)
