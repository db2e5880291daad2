"""The style cache: single flight, tiers with budgets, content keys."""

import threading
import time
from pathlib import Path

import pytest
import torch

from workers.engine.cache.precomputed import MOST, PrecomputedStyles
from workers.engine.cache.style_cache import RequestCache, StyleCache, key_of
from workers.engine.cache.tiers import DiskTier, MemoryTier


def value(n: int) -> dict[str, torch.Tensor]:
    return {"x": torch.full((25,), float(n))}


def never() -> dict[str, torch.Tensor]:
    raise AssertionError("built again")


def test_a_value_is_built_once() -> None:
    cache = StyleCache([MemoryTier("host", 1000)])
    built, hit = cache.get("a", lambda: value(1))
    assert not hit
    again, hit = cache.get("a", never)
    assert hit
    assert again["x"].data_ptr() == built["x"].data_ptr()
    assert (cache.hits, cache.misses, cache.bytes()) == (1, 1, {"host": 100})


def test_simultaneous_first_requests_build_once() -> None:
    cache, builds = StyleCache([MemoryTier("host", 1000)]), []

    def build() -> dict[str, torch.Tensor]:
        builds.append(1)
        time.sleep(0.05)
        return value(1)

    seen: list[float] = []
    threads = [threading.Thread(target=lambda: seen.append(float(cache.get("a", build)[0]["x"][0]))) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(builds), seen, cache.misses, cache.hits) == (1, [1.0] * 16, 1, 15)


def test_a_failed_build_is_its_own_and_a_waiter_builds() -> None:
    cache, begun, outcome = StyleCache([MemoryTier("host", 1000)]), threading.Event(), []

    def failing() -> dict[str, torch.Tensor]:
        begun.set()
        time.sleep(0.05)
        raise InterruptedError

    def first() -> None:
        with pytest.raises(InterruptedError):
            cache.get("a", failing)

    def second() -> None:
        begun.wait()
        outcome.append(cache.get("a", lambda: value(2)))

    threads = [threading.Thread(target=first), threading.Thread(target=second)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    [(found, hit)] = outcome
    assert not hit
    assert float(found["x"][0]) == 2


def test_the_least_recently_used_moves_down_and_comes_back(tmp_path: Path) -> None:
    near, far, disk = MemoryTier("near", 200), MemoryTier("far", 100), DiskTier("disk", 10_000, tmp_path)
    cache = StyleCache([near, far, disk])
    for n, key in enumerate("abc"):
        cache.get(key, lambda n=n: value(n))
    cache.get("b", never)
    cache.get("d", lambda: value(3))
    assert near.get("b") is not None
    assert near.get("d") is not None
    assert far.get("c") is not None
    assert disk.get("a") is not None
    found, hit = cache.get("a", never)
    assert hit
    assert torch.equal(found["x"], value(0)["x"])
    assert near.get("a") is not None


def test_the_disk_outlives_the_process_and_keeps_its_budget(tmp_path: Path) -> None:
    one = StyleCache([MemoryTier("host", 0), DiskTier("disk", 600, tmp_path)])
    for n in range(4):
        one.get(f"{n}", lambda n=n: value(n))
        time.sleep(0.01)
    tier = DiskTier("disk", 600, tmp_path)
    assert 0 < tier.used <= 600
    another = StyleCache([MemoryTier("host", 1000), tier])
    found, hit = another.get("3", never)
    assert hit
    assert torch.equal(found["x"], value(3)["x"])
    assert not another.get("0", lambda: value(0))[1]


def test_a_damaged_file_is_built_again(tmp_path: Path) -> None:
    (tmp_path / "a.safetensors").write_bytes(b"half a file")
    cache = StyleCache([DiskTier("disk", 1000, tmp_path)])
    found, hit = cache.get("a", lambda: value(1))
    assert not hit
    assert torch.equal(cache.get("a", never)[0]["x"], found["x"])


def test_what_fits_nowhere_is_still_returned() -> None:
    cache = StyleCache([MemoryTier("host", 10)])
    assert torch.equal(cache.get("a", lambda: value(1))[0]["x"], value(1)["x"])
    assert cache.bytes() == {"host": 0}


def test_it_tells_what_it_has_in_any_tier(tmp_path: Path) -> None:
    cache = StyleCache([MemoryTier("host", 100), DiskTier("disk", 1000, tmp_path)])
    cache.get("a", lambda: value(1))
    cache.get("b", lambda: value(1))
    assert cache.has({"a", "b"})
    assert not cache.has({"a", "c"})
    cache.clear()
    assert not cache.has({"a"})


def test_what_was_prepared_counts_as_long_as_all_of_it_is_there() -> None:
    cache = StyleCache([MemoryTier("host", 200)])
    prepared = PrecomputedStyles(cache)
    for key in "ab":
        cache.get(key, lambda: value(1))
        prepared.note(key.upper(), {key})
    prepared.note("both", {"a", "b"})
    assert prepared.held() == {"A", "B", "both"}
    cache.get("c", lambda: value(1))
    assert prepared.held() == {"B"}
    cache.get("a", lambda: value(1))
    assert prepared.held() == set(), "what came again for others is not what was prepared"
    for number in range(MOST + 1):
        prepared.note(str(number), {"a"})
    assert len(prepared.held()) == MOST
    assert "0" not in prepared.held()


def test_clearing_forgets_everything(tmp_path: Path) -> None:
    cache = StyleCache([MemoryTier("host", 100), DiskTier("disk", 1000, tmp_path)])
    cache.get("a", lambda: value(1))
    cache.get("b", lambda: value(1))
    cache.clear()
    assert cache.bytes() == {"host": 0, "disk": 0}


def test_a_request_knows_whether_it_waited() -> None:
    cache = StyleCache([MemoryTier("host", 1000)])
    first, second, third = RequestCache(cache), RequestCache(cache), RequestCache(cache)
    first.get("a", lambda: value(1))
    second.get("a", never)
    assert (first.outcome, second.outcome, third.outcome) == ("miss", "hit", "none")


def test_keys_are_of_content() -> None:
    assert key_of(a=1, b=[1, 2]) == key_of(b=[1, 2], a=1)
    assert key_of(a=1) != key_of(a=1.5)
    with pytest.raises(ValueError, match="JSON"):
        key_of(a=float("nan"))


def test_what_came_of_a_picture_can_be_forgotten_in_every_tier(tmp_path: Path) -> None:
    red, blue = "a" * 64, "b" * 64
    cache = StyleCache([MemoryTier("host", 250), DiskTier("disk", 10_000, tmp_path)])
    for key, pictures in (("1", (red, blue)), ("2", (red,)), ("3", (blue,)), ("4", (blue,)), ("5", ())):
        RequestCache(cache, pictures=pictures).get(key, lambda: value(1))
    RequestCache(cache, pictures=(red,)).get("content", lambda: value(2), of_style=False)
    assert all(cache.bytes().values()), "some of it lies on disk"
    cache.forget([red])

    def built(key: str, *pictures: str, of_style: bool = True) -> bool:
        built: list[str] = []

        def build() -> dict[str, torch.Tensor]:
            built.append(key)
            return value(1)

        RequestCache(cache, pictures=pictures).get(key, build, of_style=of_style)
        return bool(built)

    assert not built("3", blue)
    assert not built("4", blue)
    assert not built("5")
    assert not built("content", red, of_style=False)
    assert built("1", blue, red), "in whatever order they were given"
    assert built("2", red)


def test_what_is_built_while_its_picture_is_forgotten_is_not_kept() -> None:
    cache = StyleCache([MemoryTier("host", 1000)])

    def build() -> dict[str, torch.Tensor]:
        cache.forget(["a" * 64])
        return value(1)

    found = RequestCache(cache, pictures=("a" * 64,)).get("key", build)
    assert torch.equal(found["x"], value(1)["x"])
    assert cache.bytes() == {"host": 0}
