"""Register an operator's own model: found out what it is, checked, brought into the store's form, pinned."""

import json
import shutil
import tempfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

from pydantic import TypeAdapter, ValidationError

from model_store.add.checkpoint import prepare_single_file
from model_store.add.folder import native_size, prepare_folder
from model_store.add.ip_adapter import prepare_ip_adapter, width_of
from model_store.add.kinds import base_of_checkpoint, base_of_lora, base_of_width, kind_of
from model_store.add.lora import prepare_lora
from model_store.add.style import is_style, prepare_style
from model_store.catalogue import entries, folder_of
from model_store.catalogue.entry import Base, Entry, Kind, Licence, ModelId, WantedFile
from model_store.configs import config_folder
from model_store.convert.pickled import convert_pickled
from model_store.errors import AlreadyKnown, InvalidId, NotInstalled, WrongKeys
from model_store.fetch.space import require_space
from model_store.load.base import FLUX, FLUX2, PARTS
from model_store.load.component import empty_component
from model_store.load.header import read_header
from model_store.load.lora import WEIGHTS, read_lora
from model_store.load.tensors import check_finite
from model_store.store.files import held, put_in_place, replace_with, sha256_of, sync_file, sync_folder
from model_store.store.lockfile import PinnedFile, PinnedModel, pin

_ID: TypeAdapter[str] = TypeAdapter(ModelId)


def add(
    source: Path,
    model: str,
    store: Path,
    *,
    base: Base | None = None,
    configs: Path | None = None,
    licence: Licence | None = None,
    title: str | None = None,
    keymap: str | None = None,
) -> Entry:
    """Take a diffusers folder, a single-file checkpoint, a LoRA, an IP-Adapter or a style; return its entry.

    Hidden files of a folder are left aside. Pickled files are converted first, by `keymap`. `base` is told from the
    tensors when it is not given; `configs` is a diffusers folder whose configuration and tokenizers the model shares,
    by default the base model's own.

    Raises InvalidId, AlreadyKnown, StoreBusy, ConversionFailed, NotEnoughSpace and BadCheckpoint's kinds; then nothing
    was added.
    """
    _check_id(model)
    if model in entries(store):
        raise AlreadyKnown(f"there is a model named {model} already; remove it first or choose another name")
    if not source.exists():
        raise NotInstalled(f"{source} does not exist")
    require_space(store, 2 * sum(file.stat().st_size for file in _files(source)))
    with held(store, model), _staging(store, model) as staging:
        target = staging / "model"
        plain = _plain(source, staging, keymap)
        kind, base, notes = _prepare(plain, target, base, configs, store)
        for file in sorted(target.rglob("*.safetensors")):
            check_finite(file)
        entry = Entry(
            id=model,
            kind=kind,
            title=title or model,
            base=base,
            native_size=native_size(target) if kind == "base" else None,
            origin="added",
            files=tuple(WantedFile(path=str(file.relative_to(target))) for file in _files(target)),
            licence=licence or Licence(name="unknown"),
            notes=notes,
        )
        _install(entry, target, store)
    return entry


def _check_id(model: str) -> None:
    try:
        _ID.validate_python(model)
    except ValidationError as fault:
        raise InvalidId(
            f"{model[:80]!r} cannot be an id: lower-case letters and digits, with single '.', '_' or '-' between them, "
            "at most 64"
        ) from fault


@contextmanager
def _staging(store: Path, model: str) -> Iterator[Path]:
    """Give a folder on the store's disk that is gone afterwards."""
    (store / "incoming").mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=store / "incoming", prefix=f"{model}.") as folder:
        yield Path(folder)


def _files(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    found = (file for file in path.rglob("*") if file.is_file())
    return sorted(file for file in found if not any(part.startswith(".") for part in file.relative_to(path).parts))


def _plain(source: Path, staging: Path, keymap: str | None) -> Path:
    """Return the source itself, or the safetensors file made of a pickled one. A link is followed: it was named."""
    file = source.resolve()
    if source.is_dir() or not _is_pickled(source):
        return file
    plain = staging / f"{source.stem}.safetensors"
    convert_pickled(file, plain, keymap or ("ldm" if source.suffix.lower() == ".ckpt" else "plain"))
    return plain


def _is_pickled(file: Path) -> bool:
    """Return whether a file is one of torch's: by its first bytes, and by its name where they tell nothing."""
    with file.open("rb") as opened:
        begin = opened.read(9)
    if begin[8:] == b"{":
        return False
    return begin.startswith((b"PK", b"\x80")) or file.suffix.lower() != ".safetensors"


def _prepare(
    source: Path, target: Path, base: Base | None, configs: Path | None, store: Path
) -> tuple[Kind, Base | None, str]:
    """Bring the source into the form the store keeps; return what it is, and what to know of it."""
    if source.is_dir() and (source / "model_index.json").exists():
        return "base", prepare_folder(source, target), ""
    if source.is_dir() and is_style(source):
        base = prepare_style(source, target, base)
        if base is not None and (target / WEIGHTS).exists():
            _check_lora(target / WEIGHTS, base)
        return "style", base, ""
    if source.is_dir():
        return "lora", *_prepare_lora(source, target, base)
    header = read_header(source)
    kind = kind_of(header)
    if kind == "lora":
        return "lora", *_prepare_lora(source, target, base)
    if kind == "ip-adapter":
        base = base or base_of_width(header, width_of(header))
        prepare_ip_adapter(source, target, configs or config_folder(base))
        return "ip-adapter", base, ""
    base = base or base_of_checkpoint(header)
    prepare_single_file(header, target, base, configs or _configs_of(base, store))
    return "base", base, ""


def _prepare_lora(source: Path, target: Path, base: Base | None) -> tuple[Base, str]:
    """Bring a LoRA into the store's form; return the architecture, and what to know of it."""
    if base in FLUX2:
        raise WrongKeys(f"{source}: LoRAs of FLUX.2 are not served, which {base} is of")
    notes = prepare_lora(source, target, base)
    base = base or base_of_lora(read_header(target / WEIGHTS))
    _check_lora(target / WEIGHTS, base)
    return base, notes


def _check_lora(file: Path, base: Base) -> None:
    """Read a LoRA as a job will. Raises WrongKeys for what a job could not use."""
    base = "flux" if base in FLUX else base
    denoiser = "transformer" if base in FLUX else "unet"
    config = json.loads((config_folder(base) / denoiser / "config.json").read_bytes())
    for part, layers in read_lora(file, base, SimpleNamespace(**config)).items():
        if layers:
            _check_layers(part, layers, base)


def _check_layers(part: str, layers: Collection[str], base: Base) -> None:
    """Raise WrongKeys for a layer that the architecture has not. Shapes are for the job: a model may be narrower."""
    kind = PARTS[base].get(part)
    known = set(empty_component(config_folder(base) / part, kind).state_dict()) if kind else set()
    for layer in layers:
        if not {f"{layer}.weight", f"{layer.removeprefix('text_model.')}.weight"} & known:
            raise WrongKeys(f"{part}.{layer}: {base} has no such layer")


def _configs_of(base: Base, store: Path) -> Path:
    """Return the folder of the base model itself, or of its configuration and tokenizers alone."""
    for model in (base, f"{base}-tokenizer"):
        if (folder_of(model, store) / "model_index.json").is_file():
            return folder_of(model, store)
    return folder_of(f"{base}-tokenizer", store)


def _install(entry: Entry, target: Path, store: Path) -> None:
    """Make the files durable, move them to their final place, pin them, and only then make the model known."""
    files: dict[str, PinnedFile] = {}
    for file in _files(target):
        sync_file(file)
        sync_folder(file.parent)
        name = str(file.relative_to(target))
        files[name] = PinnedFile(size=file.stat().st_size, sha256=sha256_of(file))
    final = store / "models" / entry.id
    final.parent.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(final, ignore_errors=True)
    put_in_place(target, final)
    with held(store, "store", wait=True):
        pin(store, entry.id, PinnedModel(revision="added", files=files))
    replace_with(store / "added" / f"{entry.id}.json", entry.model_dump_json(indent=1).encode())
