"""What `GET /models`, `GET /methods` and `/readyz` tell about models: where they stand, on which terms, what to do."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from deploy.embedded.redis import RedisProcess
from model_store.catalogue import entry_of
from model_store.catalogue.entry import Entry, Licence, WantedFile
from model_store.store.lockfile import PinnedFile, PinnedModel, pin
from tests.support.gateway import Gateway
from tests.support.tiny.store import install_tiny_models
from workers.contract.jobs.results import WorkerStatus
from workers.techniques import registry

TERMS = Licence(name="CC-BY-NC-4.0", url="https://example.org/terms", non_commercial=True)


def keep(store: Path, entry: Entry, *, there: tuple[str, ...]) -> None:
    """Put an entry of the operator into a store, and only some of its files."""
    (store / "added").mkdir(parents=True, exist_ok=True)
    (store / "added" / f"{entry.id}.json").write_text(entry.model_dump_json())
    files = {file.path: PinnedFile(size=3, sha256="0" * 64) for file in entry.files}
    pin(store, entry.id, PinnedModel(revision="added", files=files))
    for name in there:
        (store / "models" / entry.id).mkdir(parents=True, exist_ok=True)
        (store / "models" / entry.id / name).write_bytes(b"abc")


@pytest.fixture(scope="module")
def stocked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A gateway whose store holds a LoRA, half of another, and half of a base model."""
    folder = tmp_path_factory.mktemp("stocked")
    two = (WantedFile(path="a.safetensors"), WantedFile(path="b.json"))
    kinds: dict[str, Any] = {"origin": "added", "base": "sd15", "files": two, "licence": TERMS}
    store = folder / "store"
    keep(store, Entry(id="ink", kind="lora", title="Ink", **kinds), there=("a.safetensors", "b.json"))
    keep(store, Entry(id="chalk", kind="lora", title="Chalk", **kinds), there=("b.json",))
    keep(store, Entry(id="mine", kind="base", title="Mine", **kinds), there=("b.json",))
    environ = {"STYLIZE_MODEL_DIR": str(store), "STYLIZE_MODELS": "mine,sdxl,starter"}
    with RedisProcess(folder / "redis") as redis, Gateway(folder, redis, environ) as running:
        yield running


def test_models_tell_where_they_stand(stocked: Gateway) -> None:
    told = stocked.client.get("/models").raise_for_status().json()
    mine, sdxl, starter = told["models"]
    assert (mine["id"], mine["state"], mine["default"], mine["warm"]) == ("mine", "partial", True, False)
    assert mine["licence"]["non_commercial"] is True
    assert "stylize models add SOURCE mine" in mine["command"]
    assert (sdxl["state"], sdxl["base"], sdxl["command"]) == ("missing", "sdxl", "stylize models pull sdxl")
    assert sdxl["bytes"] == round(entry_of("sdxl").about_mb * 1e6)
    assert sdxl["licence"] == entry_of("sdxl").licence.model_dump()
    assert (starter["state"], starter["command"]) == ("installed", None), "it comes with this package"
    assert (starter["knows"], starter["prompt_tokens"]) == (list(entry_of("starter").knows), 75)
    assert starter["notes"] == entry_of("starter").notes
    assert (sdxl["knows"], sdxl["prompt_tokens"]) == ([], 75)
    adapters = {one["id"]: one for one in told["adapters"]}
    assert {name: one["state"] for name, one in adapters.items()} == {"ink": "installed", "chalk": "partial"}
    assert (adapters["ink"]["bytes"], adapters["ink"]["command"], adapters["ink"]["kind"]) == (6, None, "lora")
    assert adapters["ink"]["licence"]["url"] == TERMS.url


def test_what_workers_do_goes_before_what_the_store_has(stocked: Gateway) -> None:
    waiting = stocked.client.get("/readyz")
    assert waiting.status_code == 503
    assert waiting.json()["models"]["sdxl"] == "missing; run: stylize models pull sdxl"
    queues = ("mine", "sdxl")
    announced = WorkerStatus(id="w", queues=queues, models=("mine",), methods={"mine": {}}, state="idle")
    stocked.store.announce(announced, 60)
    states = [model["state"] for model in stocked.client.get("/models").json()["models"]]
    assert states == ["warm", "loading", "installed"]
    ready = stocked.client.get("/readyz")
    while ready.json()["models"] == waiting.json()["models"]:
        ready = stocked.client.get("/readyz")
    assert ready.status_code == 200
    assert ready.json()["models"] == {"mine": "warm", "sdxl": "loading", "starter": "installed"}
    stocked.store.announce(announced.model_copy(update={"state": "stopping", "models": ()}), 60)
    states = [model["state"] for model in stocked.client.get("/models").json()["models"]]
    assert states == ["partial", "missing", "installed"]


def test_methods_tell_the_terms_of_what_they_run_on(stocked: Gateway) -> None:
    methods = {method["name"]: method for method in stocked.client.get("/methods").json()["methods"]}
    assert tuple(methods) == registry.names()
    leak = {one["id"]: one for one in methods["signal-leak"]["terms"]}
    assert leak.keys() == {"mine", "sdxl", "starter"}
    assert leak["mine"]["licence"]["name"] == "CC-BY-NC-4.0"
    instant = {one["id"]: one["licence"]["name"] for one in methods["instantstyle"]["terms"]}
    assert instant["ip-adapter-sdxl"] == entry_of("ip-adapter-sdxl").licence.name
    assert all(method["rights"] for method in methods.values())


def test_a_store_that_cannot_be_read_is_said(tmp_path: Path) -> None:
    store = install_tiny_models(tmp_path / "store")
    environ = {"STYLIZE_MODEL_DIR": str(store)}
    with RedisProcess(tmp_path / "redis") as redis, Gateway(tmp_path, redis, environ) as gateway:
        (store / "lock.json").write_text("{")
        assert gateway.client.get("/models").status_code == 503
        assert "lock.json" in gateway.client.get("/readyz").json()["models"]["tiny-sd15"]
        assert gateway.client.get("/methods").status_code == 200
