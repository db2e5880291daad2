"""The forms in which people have models: the hub's cache, one variant of the weights, names of old merges, LoRAs."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from model_store.add.add import add
from model_store.catalogue import entry_of, folder_of
from model_store.errors import BadCheckpoint, MalformedFile, NotInstalled, WrongKeys
from model_store.load.base import load_base
from tests.support import layouts
from tests.unit.model_store.test_add_refused import halves

Tiny = Callable[[str], Path]
UNET = "diffusion_pytorch_model"


def snapshot(source: Path, cache: Path) -> Path:
    """Lay a folder out as the hub's cache does: each file a link to a blob without a suffix."""
    repository = cache / "models--them--theirs"
    folder = repository / "snapshots" / "0123abc"
    (repository / "blobs").mkdir(parents=True)
    for number, file in enumerate(file for file in sorted(source.rglob("*")) if file.is_file()):
        blob = repository / "blobs" / f"{number:04}"
        shutil.copyfile(file, blob)
        link = folder / file.relative_to(source)
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(Path(*[".."] * len(link.relative_to(repository).parts[:-1])) / "blobs" / blob.name)
    return folder


def unet_of(model: str, store: Path) -> dict[str, torch.Tensor]:
    return dict(load_base(folder_of(model, store), "sd15")["unet"].state_dict())


def unchanged(model: str, store: Path, tiny: Tiny) -> bool:
    found, wanted = unet_of(model, store), load_base(tiny("sd15"), "sd15")["unet"].state_dict()
    return found.keys() == wanted.keys() and all(torch.equal(found[name], wanted[name]) for name in found)


def test_a_folder_of_the_hubs_cache(tiny: Tiny, store: Path, tmp_path: Path) -> None:
    folder = snapshot(tiny("sd15"), tmp_path)
    add(folder, "mine", store)
    assert unchanged("mine", store, tiny)
    assert not any(file.is_symlink() for file in folder_of("mine", store).rglob("*"))


def test_files_of_the_hubs_cache(tiny: Tiny, store: Path, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    save_file(layouts.single_file(tiny("sd15")), source / "mine.safetensors")
    save_file(halves(), source / "pytorch_lora_weights.safetensors")
    torch.save({"state_dict": layouts.single_file(tiny("sd15"))}, source / "old.ckpt")
    folder = snapshot(source, tmp_path)
    assert add(folder / "mine.safetensors", "file", store, configs=tiny("sd15")).kind == "base"
    assert add(folder / "old.ckpt", "pickled", store, configs=tiny("sd15")).kind == "base"
    assert add(folder, "lora", store, base="sd15").kind == "lora"


@pytest.mark.parametrize("place", ["unet/config.json", f"vae/{UNET}.safetensors", "tokenizer", "model_index.json"])
def test_a_link_out_of_the_folder_says_how_to_copy_it(place: str, tiny: Tiny, store: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny("sd15"), tmp_path / "copy")
    linked = tmp_path / "copy" / place
    shutil.rmtree(linked) if linked.is_dir() else linked.unlink()
    linked.symlink_to(tiny("sd15") / place)
    with pytest.raises(MalformedFile, match=r"is a link out of the folder; copy what it leads to: cp -rL"):
        add(tmp_path / "copy", "mine", store)
    assert not (store / "models" / "mine").exists()


def test_a_link_that_leads_nowhere_is_no_file(tiny: Tiny, store: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny("sd15"), tmp_path / "copy")
    (tmp_path / "copy" / "tokenizer" / "more.txt").symlink_to("nowhere")
    with pytest.raises(MalformedFile, match="leads nowhere"):
        add(tmp_path / "copy", "mine", store)


@pytest.mark.parametrize("variant", ["fp16", "bf16"])
def test_weights_in_one_variant_alone(variant: str, tiny: Tiny, store: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny("sd15"), tmp_path / "copy")
    for file in sorted((tmp_path / "copy").rglob("*.safetensors")):
        file.rename(file.with_name(f"{file.stem}.{variant}.safetensors"))
    add(tmp_path / "copy", "mine", store)
    assert unchanged("mine", store, tiny)


def test_sharded_weights_of_a_variant(tiny: Tiny, store: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny("sd15"), tmp_path / "copy")
    file = tmp_path / "copy" / "unet" / f"{UNET}.safetensors"
    tensors = load_file(file)
    file.unlink()
    parts = [f"{UNET}.fp16-0000{number}-of-00002.safetensors" for number in (1, 2)]
    place = {name: parts[number % 2] for number, name in enumerate(tensors)}
    for part in parts:
        save_file({name: tensor for name, tensor in tensors.items() if place[name] == part}, file.with_name(part))
    names = ", ".join(f'"{name}": "{part}"' for name, part in place.items())
    (file.parent / f"{UNET}.safetensors.index.fp16.json").write_text(f'{{"weight_map": {{{names}}}}}')
    add(tmp_path / "copy", "mine", store)
    assert unchanged("mine", store, tiny)


def test_the_plain_weights_are_taken_before_a_variants(tiny: Tiny, store: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny("sd15"), tmp_path / "copy")
    for part in ("unet", "vae"):
        (tmp_path / "copy" / part / f"{UNET}.fp16.safetensors").write_bytes(b"not read")
        (tmp_path / "copy" / part / f"{UNET}.safetensors.index.bf16.json").write_bytes(b"not read")
    add(tmp_path / "copy", "mine", store)
    assert unchanged("mine", store, tiny)
    assert [file.name for file in (folder_of("mine", store) / "unet").glob("*.safetensors")] == [f"{UNET}.safetensors"]


def test_two_variants_alone_are_not_chosen_from(tiny: Tiny, store: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny("sd15"), tmp_path / "copy")
    file = tmp_path / "copy" / "unet" / f"{UNET}.safetensors"
    shutil.copyfile(file, file.with_name(f"{UNET}.ema.safetensors"))
    file.rename(file.with_name(f"{UNET}.fp16.safetensors"))
    with pytest.raises(NotInstalled, match=r"variants \.ema, \.fp16"):
        add(tmp_path / "copy", "mine", store)


@pytest.mark.parametrize("base", ["sd15", "sdxl"])
def test_text_encoders_without_text_model_in_their_names(base: str, whole: Tiny, store: Path, tmp_path: Path) -> None:
    published = layouts.single_file(whole(base))
    bare = {name.replace(".transformer.text_model.", ".transformer."): tensor for name, tensor in published.items()}
    assert bare.keys() != published.keys()
    save_file(bare, tmp_path / "mine.safetensors")
    add(tmp_path / "mine.safetensors", "mine", store, configs=whole(base), base=base)
    found, wanted = (load_base(folder, base)["text_encoder"] for folder in (folder_of("mine", store), whole(base)))
    assert all(torch.equal(found.state_dict()[name], tensor) for name, tensor in wanted.state_dict().items())


KEYS = {"ip_adapter.1.to_k_ip.weight": (8, 768)}
FACES = {
    "portrait": KEYS | {"image_proj.norm.weight": (768,), "image_proj.proj.0.weight": (8, 512)},
    "faceid": KEYS | {"image_proj.norm.weight": (768,), "ip_adapter.0.to_q_lora.down.weight": (4, 320)},
    "plus": KEYS | {"image_proj.perceiver_resampler.norm_out.weight": (768,)},
}


@pytest.mark.parametrize("kind", FACES)
def test_adapters_of_faces_are_called_by_their_name(kind: str, store: Path, tmp_path: Path) -> None:
    save_file({name: torch.zeros(shape) for name, shape in FACES[kind].items()}, tmp_path / "face.safetensors")
    with pytest.raises(WrongKeys, match="is an IP-Adapter FaceID, which reads faces; that is not served"):
        add(tmp_path / "face.safetensors", "mine", store)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("bundle_emb.word.clip_l", "holds embeddings that were trained with it"),
        ("emb_params", "holds embeddings that were trained with it"),
        ("lora_te2_text_projection.lora_down.weight", "changes the projection of the second text encoder"),
    ],
)
def test_a_lora_with_more_than_is_served_names_it(name: str, words: str, store: Path, tmp_path: Path) -> None:
    save_file(halves() | {name: torch.ones(4, 768)}, tmp_path / "mine.safetensors")
    with pytest.raises(WrongKeys, match=f"{name}: {words}"):
        add(tmp_path / "mine.safetensors", "mine", store, base="sd15")


def test_a_projection_that_no_model_reads_is_left_aside_and_told(store: Path, tmp_path: Path) -> None:
    idle = {f"lora_te_text_projection.lora_{half}.weight": torch.ones(4, 4) for half in ("down", "up")}
    save_file(halves() | idle | {"lora_te_text_projection.alpha": torch.tensor(4.0)}, tmp_path / "mine.safetensors")
    entry = add(tmp_path / "mine.safetensors", "mine", store, base="sd15")
    assert "lora_te_text_projection" in entry.notes
    assert entry_of("mine", store).notes == entry.notes
    (file,) = (store / "models" / "mine").glob("*.safetensors")
    assert load_file(file).keys() == halves().keys()


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ((), "no model_index.json of diffusers"),
        (("readme.md",), "no model_index.json of diffusers"),
        (("some.safetensors", "readme.md"), "name one of its files: some.safetensors"),
        (("snapshots/0123/model_index.json",), "it is of the hub's cache: name a folder below snapshots"),
    ],
)
def test_a_folder_without_a_model_says_so(files: tuple[str, ...], words: str, store: Path, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    for name in files:
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_bytes(b"some")
    with pytest.raises(BadCheckpoint, match=f"this folder holds no model that can be added: {words}"):
        add(source, "mine", store)


@pytest.mark.parametrize("name", ["mine.ckpt", "mine", "mine.txt"])
def test_the_content_says_what_a_file_is(name: str, store: Path, tmp_path: Path) -> None:
    save_file(halves(), tmp_path / name)
    assert add(tmp_path / name, "mine", store, base="sd15").kind == "lora"


@pytest.mark.parametrize(
    ("model", "stated", "base"),
    [
        ("flux2-klein", {}, "flux2-klein"),
        ("flux2-klein", {"is_distilled": False}, "flux2-klein-base"),
        ("flux2-klein", {"_class_name": "Flux2KleinKVPipeline"}, "flux2-klein"),
        ("flux-schnell", {}, "flux-schnell"),
    ],
)
def test_a_folder_of_a_transformer(
    model: str, stated: dict[str, object], base: str, tiny: Tiny, store: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(tiny(model), tmp_path / "source")
    index = json.loads((folder / "model_index.json").read_bytes()) | stated
    (folder / "model_index.json").write_text(json.dumps(index))
    entry = add(folder, "mine", store)
    assert (entry.kind, entry.base, entry.native_size) == ("base", base, 64)  # the tiny VAE says 64 pixels
    load_base(folder_of("mine", store), entry.base)


def test_a_folder_of_a_transformer_that_is_not_served(tiny: Tiny, store: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(tiny("flux2-klein"), tmp_path / "source")
    index = json.loads((folder / "model_index.json").read_bytes()) | {"_class_name": "Flux2Pipeline"}
    (folder / "model_index.json").write_text(json.dumps(index))
    with pytest.raises(BadCheckpoint, match=r"model_index\.json: a Flux2Pipeline is not served"):
        add(folder, "mine", store)
