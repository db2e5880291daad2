"""Malicious and broken files: none is loaded, none is executed."""

import io
import json
import os
import pickle
import shutil
import struct
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from diffusers import AutoencoderKL
from transformers import CLIPTextModel

from model_store.convert import unpickle
from model_store.convert.pickled import Limits, convert_pickled
from model_store.errors import BadCheckpoint, ConversionFailed, MalformedFile, NotInstalled
from model_store.load.component import load_component
from model_store.load.header import HEADER_LIMIT
from model_store.load.shards import weight_files
from model_store.load.tensors import load_tensors

ROOT = Path(__file__).parents[3]
F32 = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}


def safetensors(header: object, data: bytes = b"\0" * 8, length: int | None = None) -> bytes:
    raw = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(raw) if length is None else length) + raw + data


LYING: dict[str, bytes] = {
    "empty": b"",
    "header-longer-than-the-file": safetensors({"a": F32}, length=10**6),
    "header-of-8-exabytes": safetensors({"a": F32}, length=2**63),
    "no-json": safetensors(b"{nonsense"),
    "a-list": safetensors([1]),
    "nested-without-end": safetensors(b"[" * 200_000),
    "key-twice": safetensors(b'{"a":' + json.dumps(F32).encode() + b',"a":' + json.dumps(F32).encode() + b"}"),
    "shape-larger-than-its-bytes": safetensors({"a": {**F32, "shape": [2**40]}}),
    "shape-that-overflows": safetensors({"a": {**F32, "shape": [2**32, 2**32, 2]}}),
    "negative-shape": safetensors({"a": {**F32, "shape": [-2]}}),
    "shape-of-booleans": safetensors({"a": {**F32, "shape": [True, 2]}}),
    "shape-of-fractions": safetensors({"a": {**F32, "shape": [2.0]}}),
    "unknown-type": safetensors({"a": {**F32, "dtype": "PICKLE"}}),
    "offsets-backwards": safetensors({"a": {**F32, "data_offsets": [8, 0]}}),
    "overlap": safetensors({"a": F32, "b": F32}),
    "hole": safetensors({"a": F32, "b": {**F32, "data_offsets": [16, 24]}}, b"\0" * 24),
    "truncated": safetensors({"a": F32}, b"\0" * 4),
    "something-behind": safetensors({"a": F32}, b"\0" * 8 + b"PK\x03\x04"),
    "extra-field": safetensors({"a": {**F32, "code": "import os"}}),
    "metadata-that-is-no-text": safetensors({"__metadata__": {"a": [1]}, "a": F32}),
}


@pytest.mark.parametrize("name", LYING)
def test_a_lying_safetensors_file_is_not_loaded(name: str, tmp_path: Path) -> None:
    file = tmp_path / f"{name}.safetensors"
    file.write_bytes(LYING[name])
    with pytest.raises(MalformedFile, match=name):
        load_tensors(file)


def test_the_same_file_told_truly_is_loaded(tmp_path: Path) -> None:
    file = tmp_path / "true.safetensors"
    file.write_bytes(safetensors({"__metadata__": {"format": "pt"}, "a": F32}))
    assert torch.equal(load_tensors(file)["a"], torch.zeros(2))


def test_a_header_above_the_limit_is_not_read(tmp_path: Path) -> None:
    file = tmp_path / "large.safetensors"
    file.write_bytes(struct.pack("<Q", HEADER_LIMIT + 1))
    os.truncate(file, HEADER_LIMIT + 100)
    with pytest.raises(MalformedFile, match="are allowed"):
        load_tensors(file)


def test_links_and_pipes_are_not_opened(tmp_path: Path) -> None:
    true = tmp_path / "true.safetensors"
    true.write_bytes(safetensors({"a": F32}))
    (tmp_path / "model.safetensors").symlink_to(true)
    with pytest.raises(MalformedFile, match="plain file"):
        load_tensors(weight_files(tmp_path))
    os.mkfifo(tmp_path / "pipe.safetensors")
    with pytest.raises(MalformedFile, match="plain file"):
        load_tensors(tmp_path / "pipe.safetensors")


@pytest.mark.parametrize("target", ["../true.safetensors", "/etc/passwd", "deep/true.safetensors", "code.py", ".x", ""])
def test_an_index_cannot_lead_elsewhere(target: str, tmp_path: Path) -> None:
    (tmp_path / "true.safetensors").write_bytes(safetensors({"a": F32}))
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": target}}))
    with pytest.raises(MalformedFile, match=r"index\.json"):
        weight_files(folder)


def test_an_index_that_is_a_link_or_too_large_is_not_read(tmp_path: Path) -> None:
    index = tmp_path / "model.safetensors.index.json"
    index.symlink_to("/etc/passwd")
    with pytest.raises(MalformedFile):
        weight_files(tmp_path)
    index.unlink()
    index.touch()
    os.truncate(index, 1 << 30)
    with pytest.raises(MalformedFile):
        weight_files(tmp_path)


def test_pickles_and_code_beside_the_weights_are_not_touched(tiny: Callable[[str], Path], tmp_path: Path) -> None:
    marker = tmp_path / "executed"
    folder = tmp_path / "text_encoder"
    shutil.copytree(tiny("sd15") / "text_encoder", folder)
    config = json.loads((folder / "config.json").read_text())
    config |= {"auto_map": {"AutoModel": "modeling.Evil", "AutoConfig": "modeling.Evil"}, "trust_remote_code": True}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "modeling.py").write_text(f"open({str(marker)!r}, 'w')")
    torch.save(Evil(f"touch {marker}"), folder / "pytorch_model.bin")
    assert load_component(folder, CLIPTextModel).config.hidden_size == 32
    (folder / "model.safetensors").unlink()
    with pytest.raises(NotInstalled, match="stylize models convert"):
        load_component(folder, CLIPTextModel)
    (folder / "config.json").write_text("{broken")
    shutil.copy(tiny("sd15") / "vae" / "diffusion_pytorch_model.safetensors", folder)
    for kind in (CLIPTextModel, AutoencoderKL):
        with pytest.raises(BadCheckpoint):
            load_component(folder, kind)
    assert not marker.exists()


class Evil:
    """Executes a command when it is unpickled by anything that trusts it."""

    def __init__(self, command: str) -> None:
        self._command = command

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (os.system, (self._command,))


def good(file: Path) -> None:
    torch.save({"a": torch.zeros(2)}, file)


def rezipped(file: Path, change: Callable[[zipfile.ZipInfo, bytes], list[tuple[str, bytes]]], **how: object) -> None:
    good(file)
    with zipfile.ZipFile(file) as old:
        members = [(info, old.read(info)) for info in old.infolist()]
    with zipfile.ZipFile(file, "w", **how) as new:
        for info, content in members:
            for name, written in change(info, content):
                new.writestr(name, written)


def encrypted(file: Path) -> None:
    good(file)
    raw = bytearray(file.read_bytes())
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        at = raw.find(signature)
        while at >= 0:
            raw[at + offset] |= 1
            at = raw.find(signature, at + 4)
    file.write_bytes(raw)


def renamed_inside(file: Path) -> None:
    good(file)
    raw = file.read_bytes()
    at = raw.find(b"data.pkl")
    file.write_bytes(raw[:at] + b"evil.pkl" + raw[at + 8 :])


def tarred(file: Path) -> None:
    with tarfile.open(file, "w") as archive:
        for name in ("sys_info", "pickle", "tensors", "storages"):
            raw = pickle.dumps(Evil("exit 1"))
            info = tarfile.TarInfo(name)
            info.size = len(raw)
            archive.addfile(info, io.BytesIO(raw))


def hidden_zip(file: Path) -> None:
    good(file)
    file.write_bytes(pickle.dumps(Evil("exit 1")) + file.read_bytes())


FORMS: dict[str, Callable[[Path], object]] = {
    "tar": tarred,
    "encrypted-flag": encrypted,
    "two-names-for-one-member": renamed_inside,
    "zip-behind-a-pickle": hidden_zip,
    "a-member-twice": lambda file: rezipped(file, lambda info, raw: [(info.filename, raw)] * 2),
    "member-outside": lambda file: rezipped(file, lambda info, raw: [(info.filename, raw), ("../../evil", raw)]),
    "scripted": lambda file: rezipped(file, lambda info, raw: [(info.filename, raw), ("x/constants.pkl", raw)]),
    "compressed": lambda file: rezipped(
        file, lambda info, raw: [(info.filename, raw + b"\0" * 10**6)], compression=zipfile.ZIP_DEFLATED
    ),
    "cut-off": lambda file: file.write_bytes(b"PK\x03\x04" + b"\0" * 100),
    "text": lambda file: file.write_bytes(b"#!/bin/sh\nexit 1\n"),
    "link": lambda file: file.symlink_to("/etc/passwd"),
}


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("name", FORMS)
def test_an_ambiguous_archive_is_refused_before_anything_is_read(name: str, tmp_path: Path) -> None:
    file = tmp_path / f"{name}.bin"
    FORMS[name](file)
    with pytest.raises(ConversionFailed, match=name):
        convert_pickled(file, tmp_path / "out.safetensors", "plain")
    assert not (tmp_path / "out.safetensors").exists()


def write_evil(folder: Path, command: str) -> dict[str, Path]:
    """Write code in torch's zip form, its legacy form, a bare pickle, and behind builtins; return the files."""
    torch.save({"a": torch.zeros(2), "b": Evil(command)}, folder / "zip.bin")
    torch.save(Evil(command), folder / "legacy.pth", _use_new_zipfile_serialization=False)
    (folder / "bare.ckpt").write_bytes(pickle.dumps({"state_dict": Evil(command)}))
    (folder / "eval.pt").write_bytes(b"\x80\x02cbuiltins\neval\nX\x05\x00\x00\x001 + 1\x85R.")
    return {name: folder / name for name in ("zip.bin", "legacy.pth", "bare.ckpt", "eval.pt")}


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("name", ["zip.bin", "legacy.pth", "bare.ckpt", "eval.pt"])
def test_the_reader_refuses_pickled_code(name: str, tmp_path: Path) -> None:
    marker = tmp_path / "executed"
    file = write_evil(tmp_path, f"touch {marker}")[name]
    with pytest.raises((pickle.UnpicklingError, RuntimeError)):
        unpickle.convert(file, tmp_path / "out.safetensors", "plain")
    assert not marker.exists()
    assert not (tmp_path / "out.safetensors").exists()


def test_the_child_refuses_pickled_code_and_bounds_memory(tmp_path: Path) -> None:
    marker = tmp_path / "executed"
    evil = write_evil(tmp_path, f"touch {marker}")["zip.bin"]
    torch.save({"a": torch.zeros(1).expand(10**6, 10**6)}, tmp_path / "vast.bin")
    for file, words in ((evil, "UnpicklingError"), (tmp_path / "vast.bin", "allocate")):
        with pytest.raises(ConversionFailed, match=words):
            convert_pickled(file, tmp_path / "out.safetensors", "plain")
    assert not marker.exists()
    assert not (tmp_path / "out.safetensors").exists()


def test_a_conversion_that_takes_too_long_is_ended(tmp_path: Path) -> None:
    good(tmp_path / "good.bin")
    with pytest.raises(ConversionFailed, match="took more than"):
        convert_pickled(tmp_path / "good.bin", tmp_path / "out.safetensors", "plain", Limits(seconds=0.05))


@pytest.mark.parametrize(
    ("action", "event"),
    [
        ("import os; os.system('true')", "os.system"),
        ("import socket; socket.socket()", "socket."),
        ("import subprocess; subprocess.run(['true'])", "subprocess.Popen"),
        ("import ctypes; ctypes.CDLL('libc.so.6')", "ctypes."),
        ("import os; os.fork()", "os.fork"),
    ],
)
def test_the_child_ends_when_code_in_it_acts(action: str, event: str) -> None:
    code = f"from model_store.convert import sandbox; sandbox.refuse_actions(); {action}; print('done')"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (77, "")
    assert event in done.stderr


def test_the_child_has_no_network_and_its_limits_hold() -> None:
    code = """
import resource, socket
from model_store.convert import sandbox
if sandbox.leave_network():
    print(sorted(name for _, name in socket.if_nameindex()))
else:
    print(['lo'])
sandbox.limit(memory_bytes=50_000_000, output_bytes=1000, cpu_seconds=5)
try:
    bytearray(200_000_000)
except MemoryError:
    print('bounded', resource.getrlimit(resource.RLIMIT_FSIZE)[0])
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["['lo']", "bounded 1000"]
