import hashlib
import random
import threading
from pathlib import Path

import pytest

from model_store.catalogue.entry import WantedFile
from model_store.errors import (
    AccessDenied,
    DigestMismatch,
    ModelNotFound,
    NotEnoughSpace,
    NotInstalled,
    PullInterrupted,
    SourceUnavailable,
    StoreBusy,
)
from model_store.fetch.hub import Hub
from model_store.fetch.progress import Silent
from model_store.fetch.pull import pull
from model_store.fetch.transfer import RetryPolicy
from model_store.store.files import held
from model_store.store.lockfile import read_lock
from model_store.store.presence import presence, require_installed
from tests.support.hub_server import COMMIT, Answer, HubState, Server
from tests.unit.model_store.conftest import Register

HASTY = RetryPolicy(attempts=1, wait_seconds=0.0)
ONE_TRY = RetryPolicy(attempts=0, wait_seconds=0.0)


def content(size: int, seed: int = 1) -> bytes:
    return random.Random(seed).randbytes(size)


def bring(hub: HubState, store: Path, *models: str, policy: RetryPolicy = HASTY, **more: object) -> object:
    return pull(models, store, Hub(endpoint=hub.url, timeout_seconds=60), watcher=Silent(), policy=policy, **more)


def finals(store: Path) -> dict[str, bytes]:
    """Return every file that carries a final name."""
    models = store / "models"
    return {
        str(file.relative_to(models)): file.read_bytes()
        for file in sorted(models.rglob("*"))
        if file.is_file() and not file.name.endswith(".partial")
    }


def test_pull_installs_pins_and_asks_nothing_the_second_time(hub: HubState, store: Path, register: Register) -> None:
    register("thing", "unet/model.safetensors", "config.json")
    hub.files = {("them/thing", "unet/model.safetensors"): content(300_000), ("them/thing", "config.json"): b"{}"}
    hub.small = {"config.json"}
    bring(hub, store, "thing")
    assert finals(store) == {"thing/config.json": b"{}", "thing/unet/model.safetensors": content(300_000)}
    pinned = read_lock(store).models["thing"]
    assert pinned.revision == COMMIT
    assert pinned.files["unet/model.safetensors"].sha256 == hashlib.sha256(content(300_000)).hexdigest()
    assert presence("thing", store).state == "installed"
    hub.asked.clear()
    bring(hub, store, "thing")
    assert hub.asked == []


def test_what_it_requires_comes_first_and_saved_names_apply(hub: HubState, store: Path, register: Register) -> None:
    register("part", "deep/vae.fp16.safetensors")
    register("whole", WantedFile(path="a.fp16.safetensors", save_as="a.safetensors"), requires=("part",))
    hub.files = {("them/part", "deep/vae.fp16.safetensors"): b"1" * 9, ("them/whole", "a.fp16.safetensors"): b"2" * 9}
    with pytest.raises(NotInstalled, match="stylize models pull part"):
        require_installed("whole", store)
    bring(hub, store, "whole")
    assert set(finals(store)) == {"part/deep/vae.fp16.safetensors", "whole/a.safetensors"}
    assert require_installed("whole", store) == store / "models" / "whole"


def test_patterns_are_resolved_once_and_pinned(hub: HubState, store: Path, register: Register) -> None:
    register("shards", "transformer/*.safetensors", "transformer/*.json")
    names = ["transformer/m-1-of-2.safetensors", "transformer/m-2-of-2.safetensors", "transformer/config.json"]
    hub.files = {("them/shards", name): name.encode() for name in [*names, "other/x.safetensors"]}
    bring(hub, store, "shards")
    assert set(finals(store)) == {f"shards/{name}" for name in names}
    (store / "models" / "shards" / names[1]).unlink()
    assert presence("shards", store).missing == (names[1],)
    hub.files[("them/shards", "transformer/new.json")] = b"new"
    bring(hub, store, "shards")
    assert set(finals(store)) == {f"shards/{name}" for name in names}


def test_200_cuts_at_random_bytes_never_show_a_part(hub: HubState, store: Path, register: Register) -> None:
    register("thing", "weights.safetensors")
    whole = content(1_000_000)
    hub.files = {("them/thing", "weights.safetensors"): whole}
    chance = random.Random(20)
    cuts = 0
    while cuts < 200:
        hub.answer = lambda path, start: Answer(cut_at=chance.randrange(max(2, (len(whole) - start) // 40)))
        with pytest.raises(SourceUnavailable):
            bring(hub, store, "thing", policy=ONE_TRY)
        assert finals(store) == {}
        cuts += 1
        if cuts % 60 == 0:  # let one through now and then, and begin again
            hub.answer = lambda path, start: Answer()
            bring(hub, store, "thing")
            assert finals(store) == {"thing/weights.safetensors": whole}
            (store / "models" / "thing" / "weights.safetensors").unlink()
    first_bytes = [start for method, _, start in hub.asked if method == "GET"]
    assert sum(start > 0 for start in first_bytes) > 150, "cuts are resumed, not begun again"


def test_cuts_within_one_pull_are_resumed(hub: HubState, store: Path, register: Register) -> None:
    register("thing", "weights.safetensors")
    hub.files = {("them/thing", "weights.safetensors"): content(400_000)}
    hub.answer = lambda path, start: Answer(cut_at=70_000)
    bring(hub, store, "thing")
    assert finals(store) == {"thing/weights.safetensors": content(400_000)}
    assert len([1 for method, _, start in hub.asked if method == "GET" and start]) >= 5


def test_a_server_that_ignores_ranges_starts_again(hub: HubState, store: Path, register: Register) -> None:
    register("thing", "weights.safetensors")
    hub.files = {("them/thing", "weights.safetensors"): content(400_000)}
    answers = iter([Answer(cut_at=100_000), Answer(ignore_range=True)])
    hub.answer = lambda path, start: next(answers)
    bring(hub, store, "thing")
    assert finals(store) == {"thing/weights.safetensors": content(400_000)}


def test_a_part_that_was_spoilt_on_disk_is_fetched_anew(hub: HubState, store: Path, register: Register) -> None:
    register("thing", "weights.safetensors")
    hub.files = {("them/thing", "weights.safetensors"): content(200_000)}
    hub.answer = lambda path, start: Answer(cut_at=100_000)
    with pytest.raises(SourceUnavailable):
        bring(hub, store, "thing", policy=ONE_TRY)
    partial = next((store / "models" / "thing").glob("*.partial"))
    partial.write_bytes(b"\0" * partial.stat().st_size)
    hub.answer = lambda path, start: Answer()
    bring(hub, store, "thing")
    assert finals(store) == {"thing/weights.safetensors": content(200_000)}


@pytest.mark.parametrize("small", [True, False])
def test_wrong_bytes_are_not_installed(hub: HubState, store: Path, register: Register, small: bool) -> None:
    register("thing", "weights.safetensors")
    hub.files = {("them/thing", "weights.safetensors"): content(50_000)}
    hub.small = {"weights.safetensors"} if small else set()
    hub.answer = lambda path, start: Answer(damage=True)
    with pytest.raises(DigestMismatch, match=r"thing/weights\.safetensors"):
        bring(hub, store, "thing")
    assert finals(store) == {}
    assert list((store / "models").rglob("*.partial")) == []


def test_truncated_at_the_source(hub: HubState, store: Path, register: Register) -> None:
    register("thing", "weights.safetensors")
    hub.files = {("them/thing", "weights.safetensors"): content(50_000)}
    hub.stated_size = 60_000
    with pytest.raises(SourceUnavailable, match="byte 50000 of 60000"):
        bring(hub, store, "thing")
    assert finals(store) == {}


def test_pins_are_enforced_after_the_source_changed(hub: HubState, store: Path, register: Register) -> None:
    register("thing", "weights.safetensors")
    hub.files = {("them/thing", "weights.safetensors"): content(50_000)}
    bring(hub, store, "thing")
    (store / "models" / "thing" / "weights.safetensors").unlink()
    hub.files = {("them/thing", "weights.safetensors"): content(50_000, seed=2)}
    for no_digest in (False, True):  # stated beforehand, or found in the bytes
        hub.no_digest = no_digest
        with pytest.raises(DigestMismatch):
            bring(hub, store, "thing")
        assert finals(store) == {}


def test_a_digest_of_the_catalogue_is_enforced_at_once(hub: HubState, store: Path, register: Register) -> None:
    register("thing", WantedFile(path="weights.safetensors", sha256="0" * 64))
    hub.files = {("them/thing", "weights.safetensors"): content(5_000)}
    with pytest.raises(DigestMismatch):
        bring(hub, store, "thing")


def test_gated_says_how_to_accept(hub: HubState, store: Path, register: Register) -> None:
    register("thing", "weights.safetensors")
    hub.files = {("them/thing", "weights.safetensors"): b"x"}
    for refusal in ((403, "GatedRepo"), (403, None), (401, "GatedRepo")):
        hub.head_status = refusal
        with pytest.raises(AccessDenied, match=r"accept its licence on .*/them/thing.*HF_TOKEN"):
            bring(hub, store, "thing")
    hub.head_status = None
    hub.answer = lambda path, start: Answer(status=403, error_code="GatedRepo")
    with pytest.raises(AccessDenied, match="accept its licence"):
        bring(hub, store, "thing")


def test_not_found(hub: HubState, store: Path, register: Register) -> None:
    register("thing", "gone.safetensors")
    with pytest.raises(ModelNotFound, match="them/thing"):
        bring(hub, store, "thing")
    hub.head_status = (404, "RepoNotFound")
    with pytest.raises(ModelNotFound, match="does not exist, or it is private"):
        bring(hub, store, "thing")
    hub.head_status = (404, "RevisionNotFound")
    with pytest.raises(ModelNotFound):
        bring(hub, store, "thing")


def test_a_broken_server_is_retried_then_named(hub: HubState, store: Path, register: Register) -> None:
    register("thing", "weights.safetensors")
    hub.files = {("them/thing", "weights.safetensors"): content(5_000)}
    hub.heads_refused = 2
    answers = iter([Answer(status=503), Answer(status=500), Answer()])
    hub.answer = lambda path, start: next(answers)
    bring(hub, store, "thing", policy=RetryPolicy(attempts=3, wait_seconds=0.0))
    assert finals(store) == {"thing/weights.safetensors": content(5_000)}
    (store / "models" / "thing" / "weights.safetensors").unlink()
    hub.answer = lambda path, start: Answer(status=503)
    with pytest.raises(SourceUnavailable, match="503"):
        bring(hub, store, "thing")


def test_a_slow_server_is_waited_for_and_a_silent_one_is_not(hub: HubState, store: Path, register: Register) -> None:
    register("thing", "weights.safetensors")
    hub.files = {("them/thing", "weights.safetensors"): content(20_000)}
    hub.answer = lambda path, start: Answer(block=1_000, pause_seconds=0.05)
    pull(["thing"], store, Hub(endpoint=hub.url, timeout_seconds=60), watcher=Silent(), policy=HASTY)
    assert finals(store) == {"thing/weights.safetensors": content(20_000)}
    (store / "models" / "thing" / "weights.safetensors").unlink()
    hub.answer = lambda path, start: Answer(block=15_000, pause_seconds=60)
    with pytest.raises(SourceUnavailable):
        pull(["thing"], store, Hub(endpoint=hub.url, timeout_seconds=2), watcher=Silent(), policy=ONE_TRY)
    assert finals(store) == {}


def test_the_disk_is_checked_before_the_first_byte(hub: HubState, store: Path, register: Register) -> None:
    register("thing", "weights.safetensors")
    hub.files = {("them/thing", "weights.safetensors"): b"x"}
    hub.stated_size = 10**15
    with pytest.raises(NotEnoughSpace, match=r"1000000\.00 GB are needed"):
        bring(hub, store, "thing")
    assert [method for method, _, _ in hub.asked] == ["HEAD"]


def test_stopping_keeps_what_arrived(hub: HubState, store: Path, register: Register) -> None:
    register("thing", "a.safetensors", "b.safetensors")
    hub.files = {("them/thing", name): content(500_000) for name in ("a.safetensors", "b.safetensors")}
    stop = threading.Event()

    class StopAt(Silent):
        def reached(self, name: str, done: int) -> None:
            if done > 200_000:
                stop.set()

    source = Hub(endpoint=hub.url, timeout_seconds=60)
    with pytest.raises(PullInterrupted, match="kept for the next pull"):
        pull(["thing"], store, source, watcher=StopAt(), policy=HASTY, stop=stop)
    assert finals(store) == {}
    assert sum(file.stat().st_size for file in (store / "models").rglob("*.partial")) > 100_000
    bring(hub, store, "thing")
    assert len(finals(store)) == 2


def test_two_pulls_of_one_model_do_not_meet(hub: HubState, store: Path, register: Register) -> None:
    register("thing", "weights.safetensors")
    with held(store, "thing"), pytest.raises(StoreBusy, match="thing"):
        bring(hub, store, "thing")


def test_an_unreachable_hub_is_named(store: Path, register: Register) -> None:
    register("thing", "weights.safetensors")
    with pytest.raises(SourceUnavailable, match=r"127\.0\.0\.1:9"):
        pull(["thing"], store, Hub(endpoint="http://127.0.0.1:9", timeout_seconds=1), watcher=Silent(), policy=HASTY)


def test_the_token_is_sent(hub: HubState, store: Path, register: Register) -> None:
    register("thing", "weights.safetensors")
    hub.files = {("them/thing", "weights.safetensors"): b"x" * 10}
    pull(["thing"], store, Hub(endpoint=hub.url, timeout_seconds=60, token="hf_secret"), watcher=Silent())
    assert hub.tokens == {"Bearer hf_secret"}


def test_the_token_stays_with_the_hub_when_the_bytes_are_elsewhere(
    hub: HubState, store: Path, register: Register
) -> None:
    register("thing", "weights.safetensors")
    elsewhere = Server()
    try:
        hub.files = elsewhere.state.files = {("them/thing", "weights.safetensors"): content(200_000)}
        elsewhere.state.answer = lambda path, start: Answer(cut_at=90_000)
        hub.moved_to = elsewhere.state.url
        source = Hub(endpoint=hub.url, timeout_seconds=60, token="hf_secret")
        pull(["thing"], store, source, watcher=Silent(), policy=HASTY)
        assert finals(store) == {"thing/weights.safetensors": content(200_000)}
        assert hub.tokens == {"Bearer hf_secret"}
        assert elsewhere.state.tokens == {None}
        assert len(elsewhere.state.asked) >= 3
    finally:
        elsewhere.stop()


def test_what_two_models_share_is_fetched_once(hub: HubState, store: Path, register: Register) -> None:
    shared, twice = content(50_000), content(40_000, 2)
    register("first", "text_encoder_2/model.safetensors")
    register("second", "text_encoder_2/model.safetensors", "vae/model.safetensors")
    register("third", "vae/model.safetensors")
    hub.files = {
        ("them/first", "text_encoder_2/model.safetensors"): shared,
        ("them/second", "text_encoder_2/model.safetensors"): shared,
        ("them/second", "vae/model.safetensors"): twice,
        ("them/third", "vae/model.safetensors"): twice,
    }
    bring(hub, store, "first")
    hub.asked.clear()
    bring(hub, store, "second", "third")
    assert sum(method == "GET" for method, _, _ in hub.asked) == 1
    assert [found[1] for found in sorted(finals(store).items())] == [shared, shared, twice, twice]
    models = store / "models"
    assert (models / "first/text_encoder_2/model.safetensors").samefile(
        models / "second/text_encoder_2/model.safetensors"
    )
    assert (models / "third/vae/model.safetensors").samefile(models / "second/vae/model.safetensors")


def test_a_damaged_file_is_not_shared(hub: HubState, store: Path, register: Register) -> None:
    register("first", "model.safetensors")
    register("second", "model.safetensors")
    hub.files = {(f"them/{name}", "model.safetensors"): content(50_000) for name in ("first", "second")}
    bring(hub, store, "first")
    (store / "models/first/model.safetensors").write_bytes(bytes(50_000))
    bring(hub, store, "second")
    assert finals(store)["second/model.safetensors"] == content(50_000)
