"""The same promises from a local disk and from a real S3 API over HTTP."""

import errno
import fcntl
import os
import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from mmap import mmap
from pathlib import Path

import pytest

from workers.contract.blobs import (
    BlobStore,
    Pages,
    input_name,
    job_prefix,
    manifest_name,
    open_blobs,
    output_name,
    read_input,
)
from workers.contract.blobs.disk import DiskBlobs
from workers.contract.blobs.names import attempt_of, input_sha256
from workers.contract.errors import (
    BlobDamaged,
    BlobError,
    BlobExists,
    BlobMissing,
    BlobRefused,
    BlobStoreUnavailable,
    Misconfigured,
)
from workers.contract.runtime.settings import Settings

PICTURE = random.Random(2026).randbytes(50_000)
SHA = sha256(PICTURE).hexdigest()


def put(blobs: BlobStore, name: str, data: bytes = PICTURE, *, if_absent: bool = True) -> None:
    blobs.put(name, data, content_type="image/png", if_absent=if_absent)


def test_what_is_put_is_got(blobs: BlobStore) -> None:
    name = output_name("job1", 2, 0, "png")
    put(blobs, name)
    assert blobs.get(name) == PICTURE
    with pytest.raises(BlobMissing):
        blobs.get(manifest_name("job1", 2))


def test_a_name_is_given_once(blobs: BlobStore) -> None:
    name = output_name("job1", 1, 0, "png")
    put(blobs, name)
    put(blobs, name)
    with pytest.raises(BlobExists):
        put(blobs, name, b"other bytes")
    assert blobs.get(name) == PICTURE
    put(blobs, name, b"other bytes", if_absent=False)
    assert blobs.get(name) == b"other bytes"


@pytest.fixture
def memory() -> Iterator[tuple[int, mmap]]:
    """A memory file that holds the picture and other bytes after it."""
    file = os.memfd_create("picture")
    os.ftruncate(file, 2**20)
    with mmap(file, 2**20) as mapped:
        mapped[:150_000] = PICTURE * 3
        yield file, mapped
    os.close(file)


@pytest.mark.parametrize("size", [1, 4095, 4096, 50_000])
def test_pages_are_put_as_their_bytes_and_nothing_else(blobs: BlobStore, memory: tuple[int, mmap], size: int) -> None:
    pages = Pages(*memory, size)
    for name in (output_name("job1", 1, 0, "png"), output_name("job1", 1, 0, "png"), input_name(SHA)):
        blobs.put(name, pages, content_type="image/png")
        assert blobs.get(name) == PICTURE[:size]
    with pytest.raises(BlobExists):
        put(blobs, output_name("job1", 1, 0, "png"), b"x" * size)


def test_pages_go_to_a_disk_that_takes_none_directly(
    tmp_path: Path, memory: tuple[int, mmap], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: int, command: int, flags: int) -> int:
        if flags & os.O_DIRECT:
            raise OSError(errno.EINVAL, "Invalid argument")
        return command

    monkeypatch.setattr(fcntl, "fcntl", refuse)
    blobs = DiskBlobs(tmp_path)
    blobs.put(input_name(SHA), Pages(*memory, len(PICTURE)), content_type="image/png")
    assert blobs.get(input_name(SHA)) == PICTURE


def test_of_many_writers_at_once_one_wins(blobs: BlobStore) -> None:
    name = output_name("job1", 1, 0, "png")

    def write(n: int) -> int | None:
        try:
            put(blobs, name, bytes([n]) * 1000)
        except BlobExists:
            return None
        return n

    with ThreadPoolExecutor(8) as pool:
        winners = [n for n in pool.map(write, range(16)) if n is not None]
    assert len(winners) == 1
    assert blobs.get(name) == bytes(winners) * 1000


def test_names_are_listed_below_a_prefix_and_deleted(blobs: BlobStore) -> None:
    names = {output_name("job1", token, n, "webp") for token in (1, 2) for n in (0, 1)}
    for name in (*names, output_name("job10", 1, 0, "png"), input_name(SHA)):
        put(blobs, name)
    listed = list(blobs.list(job_prefix("job1")))
    assert {stored.name for stored in listed} == names
    assert {stored.size for stored in listed} == {len(PICTURE)}
    assert all(abs(stored.modified - datetime.now(tz=UTC)) < timedelta(minutes=1) for stored in listed)
    blobs.delete([*names, "jobs/job1/9/0.png"])
    assert list(blobs.list(job_prefix("job1"))) == []
    assert len(list(blobs.list("jobs/"))) == 1
    assert list(blobs.list("nothing/")) == []


def test_an_impossible_name_is_refused(blobs: BlobStore) -> None:
    for name in (
        "",
        "/etc/passwd",
        "../x",
        "a/../b",
        "a//b",
        "a/",
        ".parts/x",
        "a\0b",
        "a\\b",
        "ä",
        "x" * 600,
        "a/b\n",
    ):
        for act in (lambda n=name: put(blobs, n), lambda n=name: blobs.get(n), lambda n=name: blobs.delete([n])):
            with pytest.raises(BlobError, match="not a blob name"):
                act()


def test_a_good_store_passes_the_probe_and_is_left_clean(blobs: BlobStore) -> None:
    blobs.probe()
    assert list(blobs.list("probes/")) == []


def test_names_tell_what_they_are() -> None:
    assert input_name(SHA) == f"inputs/{SHA[:2]}/{SHA}.png"
    assert input_sha256(input_name(SHA)) == SHA
    assert attempt_of(output_name("job1", 3, 0, "jpeg")) == ("job1", 3)
    assert attempt_of(manifest_name("job1", 3)) == ("job1", 3)
    assert attempt_of(input_name(SHA)) is input_sha256("jobs/x/1/0.png") is None


def test_an_input_put_again_counts_as_new(tmp_path: Path) -> None:
    blobs = DiskBlobs(tmp_path)
    put(blobs, input_name(SHA))
    os.utime(tmp_path / input_name(SHA), (0, 0))
    put(blobs, input_name(SHA))
    (stored,) = blobs.list("inputs/")
    assert stored.modified > datetime.now(tz=UTC) - timedelta(minutes=1)


def test_a_damaged_input_is_told_and_healed_by_the_next_put(blobs: BlobStore, memory: tuple[int, mmap]) -> None:
    name = input_name(SHA)
    for heal in (PICTURE, Pages(*memory, len(PICTURE))):
        for damaged in (PICTURE[:-1] + b"x", PICTURE[:-1], b""):
            put(blobs, name, damaged, if_absent=False)
            with pytest.raises(BlobDamaged, match=SHA):
                read_input(blobs, SHA)
            with pytest.raises(BlobExists):
                put(blobs, name, b"other bytes")
            blobs.put(name, heal, content_type="image/png")
            assert read_input(blobs, SHA) == PICTURE


def test_a_file_that_cannot_be_read_is_refused_and_a_put_replaces_it(tmp_path: Path) -> None:
    blobs, name = DiskBlobs(tmp_path), input_name(SHA)
    put(blobs, name)
    (tmp_path / name).unlink()
    (tmp_path / name).symlink_to(tmp_path / name)
    with pytest.raises(BlobRefused, match="symbolic links"):
        blobs.get(name)
    assert [stored.name for stored in blobs.list("inputs/")] == [name]
    put(blobs, name)
    assert read_input(blobs, SHA) == PICTURE


def test_what_cannot_be_deleted_keeps_no_other(tmp_path: Path) -> None:
    blobs = DiskBlobs(tmp_path)
    names = [output_name("job1", 1, n, "png") for n in range(3)]
    put(blobs, names[2])
    (tmp_path / names[0] / "folder").mkdir(parents=True)
    with pytest.raises(BlobRefused, match="Is a directory"):
        blobs.delete(names)
    assert list(blobs.list(job_prefix("job1"))) == []


def test_writers_and_deleters_of_one_folder_do_not_disturb_each_other(tmp_path: Path) -> None:
    blobs = DiskBlobs(tmp_path)

    def come_and_go(n: int) -> None:
        for _ in range(20):
            put(blobs, f"inputs/aa/{n}.png", b"x")
            blobs.delete([f"inputs/aa/{n}.png"])

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(come_and_go, range(4)))
    assert list(blobs.list("inputs/")) == []
    assert list((tmp_path / ".parts").iterdir()) == []


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS, errno.EIO])
def test_a_failing_disk_is_unavailable_and_leaves_no_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    blobs = DiskBlobs(tmp_path)

    def fail(_: int) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(BlobStoreUnavailable, match=os.strerror(code)):
        put(blobs, input_name(SHA))
    monkeypatch.undo()
    assert list(blobs.list("inputs/")) == []
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
    put(blobs, input_name(SHA))


def test_a_folder_that_cannot_be_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(BlobStoreUnavailable, match="Not a directory"):
        open_blobs(Settings(blob_url=f"file:{tmp_path / 'file' / 'blobs'}")).probe()


def test_an_address_of_no_store_is_misconfigured() -> None:
    for url in ("ftp://x", "file:", "s3://", "s3:///x", "s3://[x", "s3://a b", "s3://x?y"):
        with pytest.raises(Misconfigured, match="STYLIZE_BLOB_URL"):
            open_blobs(Settings(blob_url=url))
