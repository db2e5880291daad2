"""Deleting input pictures that nobody names, step by step, against jobs and styles that come to name them."""

import secrets
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from redis import Redis

from deploy.embedded.redis import RedisProcess
from tests.integration.conftest import new_job
from workers.contract.blobs import BlobStore, input_name, open_blobs
from workers.contract.errors import BlobRefused, InputsDeleted, StorageQuota
from workers.contract.jobs.admission import PutInputs
from workers.contract.jobs.inputs import LEASE_SECONDS, InputStore, delete_unused
from workers.contract.jobs.store import JobStore
from workers.contract.runtime.redis import connect
from workers.contract.runtime.settings import Settings
from workers.contract.styles.store import Style, StyleReference, StyleStore

OLD, NEW = "a" * 64, "b" * 64
START = 1_700_000_000_000


class World:
    """The stores of one prefix, by one clock, and a blob store with a picture that nobody names."""

    def __init__(self, redis: Redis, blobs: BlobStore) -> None:
        self.now, prefix = START, f"{secrets.token_hex(4)}:"
        self.redis, self.prefix, self.blobs = redis, prefix, blobs
        self.store = JobStore(redis, prefix=prefix, retention_seconds=60, clock=lambda: self.now)
        self.styles = StyleStore(redis, prefix=prefix)
        self.inputs: InputStore = self.store.inputs
        self.put()

    def put(self) -> None:
        self.blobs.put(input_name(OLD), b"picture", content_type="image/png")

    def there(self) -> bool:
        return input_name(OLD) in {stored.name for stored in self.blobs.list("inputs/")}

    def bytes_of(self, owner: str) -> int:
        return int(str(self.redis.hget(f"{self.prefix}bytes", owner) or 0))

    def refused(self, put: PutInputs | None = None) -> InputsDeleted:
        with pytest.raises(InputsDeleted) as found:
            self.store.submit(new_job(styles=(OLD,)), put or PutInputs())
        return found.value


@pytest.fixture
def world(redis: Redis, tmp_path: Path) -> World:
    return World(redis, open_blobs(Settings(blob_url=f"file:{tmp_path / 'blobs'}")))


def style(*inputs: str, owner: str = "ann") -> Style:
    references = tuple(StyleReference(sha256=sha256, weight=1) for sha256 in inputs)
    created = datetime.now(tz=UTC)
    return Style(id=secrets.token_hex(8), owner=owner, name="x", references=references, versions={}, created_at=created)


def test_a_picture_named_before_it_is_marked_stays(world: World) -> None:
    world.store.submit(new_job(styles=(OLD,)))
    assert delete_unused(world.inputs, world.blobs, [OLD]) == 0
    assert world.there()


def test_who_names_a_picture_while_it_is_deleted_waits_and_puts_it_again(world: World) -> None:
    marks = world.inputs.doom([OLD])
    world.put()  # what a gateway does before it submits
    during = world.refused()
    assert (during.deleting, during.marks) == (True, marks)
    assert world.refused(PutInputs(revived=during.marks)).deleting, "the deletion may still be to come"
    world.blobs.delete([input_name(OLD)])
    world.now += 5
    world.inputs.gone(marks)
    after = world.refused()
    assert (after.deleting, after.marks) == (False, {OLD: world.now})
    assert world.refused(PutInputs(revived=during.marks)).marks == after.marks, "put before it was deleted"
    world.put()
    assert world.store.submit(new_job(styles=(OLD,)), PutInputs(revived=after.marks)).created
    assert delete_unused(world.inputs, world.blobs, [OLD]) == 0
    assert world.there()


def test_a_style_waits_as_a_job_does(world: World) -> None:
    marks = world.inputs.doom([OLD])
    with pytest.raises(InputsDeleted):
        world.styles.save(style(OLD), 10)
    assert world.styles.count("ann") == 0
    world.inputs.gone(marks)
    with pytest.raises(InputsDeleted) as gone:
        world.styles.save(style(NEW, OLD), 10)
    assert world.styles.save(style(NEW, OLD), 10, PutInputs(revived=gone.value.marks))
    assert world.inputs.doom([OLD, NEW]) == {}


def test_a_deleter_that_died_holds_nobody_up_for_ever(world: World) -> None:
    marks = world.inputs.doom([OLD])
    assert world.inputs.doom([OLD]) == {}, "one deletes at a time"
    world.now += LEASE_SECONDS * 1000
    late = world.refused()
    assert (late.deleting, late.marks) == (False, marks)
    assert world.store.submit(new_job(styles=(OLD,)), PutInputs(revived=late.marks)).created
    world.inputs.gone(marks)
    assert world.store.submit(new_job(styles=(OLD,))).created, "a late word of the dead marks nothing"


class Refusing:
    """A blob store that deletes nothing."""

    def delete(self, names: Iterable[str]) -> None:
        raise BlobRefused(f"{list(names)} are not ours")


def test_a_refused_deletion_holds_nobody_up(world: World) -> None:
    with pytest.raises(BlobRefused):
        delete_unused(world.inputs, Refusing(), [OLD])  # type: ignore[arg-type]
    refused = world.refused()
    assert not refused.deleting
    assert world.store.submit(new_job(styles=(OLD,)), PutInputs(revived=refused.marks)).created


class Overtaken:
    """A blob store in which somebody else acts just before something is deleted."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.before: list[InputsDeleted] = []

    def delete(self, names: Iterable[str]) -> None:
        self.world.put()
        self.before.append(self.world.refused())
        self.world.blobs.delete(names)


def test_a_sweep_takes_no_picture_of_a_job_that_is_let_in(world: World) -> None:
    overtaken = Overtaken(world)
    assert delete_unused(world.inputs, overtaken, [OLD]) == 1  # type: ignore[arg-type]
    assert overtaken.before[0].deleting
    assert not world.there()
    assert not world.refused().deleting


def test_bytes_are_those_of_pictures_that_an_owner_names(world: World) -> None:
    sizes = {OLD: 60, NEW: 50}
    put = PutInputs(sizes, max_bytes=100)
    first = world.store.submit(new_job(styles=(OLD,)), put).job
    world.store.submit(new_job(styles=(OLD,)), put)
    saved = style(OLD)
    assert world.styles.save(saved, 10, put)
    assert (world.bytes_of("ann"), world.inputs.held("ann", [OLD, NEW])) == (60, {OLD})
    for name in (
        lambda: world.store.submit(new_job(styles=(NEW,)), put),
        lambda: world.styles.save(style(NEW), 9, put),
    ):
        with pytest.raises(StorageQuota, match="100 bytes"):
            name()
    assert world.store.submit(new_job(styles=(NEW,), owner="bob"), put).created, "another owner's bytes"
    for job in world.store.page(limit=10).jobs:
        world.store.cancel(job.id)
    world.now += 60_000
    world.store.sweep()
    assert world.store.get(first.id) is None
    assert world.bytes_of("ann") == 60, "the style keeps it"
    assert world.styles.delete(saved.id, "ann")
    assert (world.bytes_of("ann"), world.bytes_of("bob")) == (0, 0)


def test_bytes_that_another_release_left_behind_are_found(world: World) -> None:
    put = PutInputs({OLD: 60, NEW: 50})
    world.store.submit(new_job(styles=(OLD,)), put)
    world.store.submit(new_job(styles=(NEW,)), put)
    world.redis.hdel(f"{world.prefix}inputs:ann", OLD)  # as a sweeper does that counts no bytes
    world.inputs.recount()
    assert world.bytes_of("ann") == 50


def test_a_full_redis_still_lets_pictures_go(tmp_path: Path) -> None:
    with RedisProcess(tmp_path / "redis") as child, connect(child.url) as redis:
        world = World(redis, open_blobs(Settings(blob_url=f"file:{tmp_path / 'blobs'}")))
        redis.config_set("maxmemory", 1)
        assert delete_unused(world.inputs, world.blobs, [OLD]) == 1
        assert not world.there()
