import os
import shutil
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
import torch
from huggingface_hub.utils import close_session
from transformers import CLIPTextConfig, CLIPTextModelWithProjection

from model_store.catalogue.entry import Entry, Licence, WantedFile
from model_store.store.files import replace_with
from tests.support.hub_server import HubState, Server

Register = Callable[..., Entry]


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "store"


@pytest.fixture
def hub() -> Iterator[HubState]:
    server = Server()
    yield server.state
    close_session()
    server.stop()


@pytest.fixture
def register(store: Path) -> Register:
    """Put an entry of the test into the store's own catalogue."""

    def add(name: str, *files: WantedFile | str, **more: object) -> Entry:
        wanted = tuple(WantedFile(path=file) if isinstance(file, str) else file for file in files)
        fields = {"kind": "auxiliary", "title": name, "repository": f"them/{name}", "licence": Licence(name="MIT")}
        entry = Entry(id=name, files=wanted, **{**fields, **more})
        replace_with(store / "added" / f"{name}.json", entry.model_dump_json().encode())
        return entry

    return add


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Return the folder of a tiny base model, built once for all test processes of a run."""
    from tests.support.tiny.models import build

    torch.set_num_threads(1)
    root = tmp_path_factory.getbasetemp()
    return partial(build, (root.parent if "PYTEST_XDIST_WORKER" in os.environ else root) / "tiny")


@pytest.fixture
def whole(tiny: Callable[[str], Path], tmp_path: Path) -> Callable[[str], Path]:
    """Return tiny base models whose two text encoders differ in width, by which the real ones are told apart."""

    def folder(base: str) -> Path:
        if base == "sd15":
            return tiny(base)
        copy = tmp_path / "whole-sdxl"
        if not copy.exists():
            shutil.copytree(tiny(base), copy)
            wider = CLIPTextConfig.from_pretrained(copy / "text_encoder_2", hidden_size=64, local_files_only=True)
            CLIPTextModelWithProjection(wider).save_pretrained(copy / "text_encoder_2")
        return copy

    return folder
