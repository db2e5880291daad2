"""Who is let in, and the pictures of what is: room is looked for first, and what is refused leaves nothing."""

import asyncio
import logging
import struct
import time
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TypeVar

from app.auth.keyring import Caller, KeyRing
from app.auth.rate_limit import RateLimits
from app.errors import Fault, Invalid, PictureRefused, Problem, Unavailable
from app.storage.blob_calls import BlobCalls
from app.storage.free_space import FreeSpace
from app.storage.redis_calls import RedisCalls
from app.uploads.decoder.pool import Decoded, Decoder, DecoderLost
from app.uploads.limits import PictureFileRefused
from app.uploads.upload import Upload
from workers.contract.blobs import BlobStore, input_name, read_input
from workers.contract.blobs.names import Sha256
from workers.contract.errors import (
    BlobDamaged,
    BlobError,
    BlobMissing,
    ContractError,
    InputsDeleted,
    StoreUnavailable,
)
from workers.contract.jobs.admission import Admission, PutInputs, quota
from workers.contract.jobs.inputs import InputStore, delete_unused
from workers.contract.jobs.store import JobStore
from workers.contract.spec import Size

log = logging.getLogger(__name__)

T = TypeVar("T")
PNG_SIZE = struct.Struct(">16xII")
"""Width and height in the header of a PNG, as the decoder writes it."""
Pictures = Mapping[str, Decoded]
"""Decoded pictures by the pointer of their field."""
DELETING_SECONDS = 5.0
"""How long a request waits for the deletion of a picture that it brings again."""
PAUSE_SECONDS = 0.05


@dataclass(frozen=True)
class JobAdmission:
    """Finds out who may ask for more jobs, before anything is decoded or stored."""

    store: JobStore
    keyring: KeyRing
    rates: RateLimits
    calls: RedisCalls

    def most_active(self, owner: str) -> int | None:
        """Return how many unfinished jobs an owner may have; None when not limited."""
        return self.keyring.in_flight(owner)

    async def admit(self, owner: str, key: str | None = None, *, jobs: int = 1) -> Admission:
        """Find out whether an owner may ask for more jobs. Raises a ContractError."""
        return await self.calls.call(self.store.admit, owner, key, jobs=jobs, max_active=self.most_active(owner))

    async def count_jobs(self, caller: Caller, jobs: int, pointer: str) -> None:
        """Count the jobs of one request against the caller's rate. Raises RateLimited, Invalid naming the field."""
        await self.calls.call(self.rates.count_jobs, caller, jobs, pointer)


@dataclass(frozen=True)
class InputWriter:
    """Decodes and stores the pictures of requests; an owner's may be `most` bytes together."""

    decoder: Decoder
    inputs: InputStore
    blobs: BlobStore
    calls: RedisCalls
    blob_calls: BlobCalls
    free_space: FreeSpace
    most: int

    @asynccontextmanager
    async def decode(self, uploads: list[Upload]) -> AsyncIterator[Pictures]:
        """Give the decoded pictures. Raises PictureRefused naming all that failed, or Unavailable."""
        if len(uploads) == 1:  # the usual case needs no task of its own
            results = [await self._attempt(uploads[0])]
        else:
            results = await asyncio.gather(*(self._attempt(upload) for upload in uploads))
        pictures = {u.pointer: found for u, found in zip(uploads, results, strict=True) if isinstance(found, Decoded)}
        try:
            refused = [
                (u, found) for u, found in zip(uploads, results, strict=True) if isinstance(found, PictureFileRefused)
            ]
            if refused:
                raise PictureRefused.of([Fault(upload.pointer, str(found)) for upload, found in refused])
            if len(pictures) < len(uploads):
                raise Unavailable("pictures cannot be decoded now")
            yield pictures
        finally:
            for picture in pictures.values():
                picture.close()

    async def _attempt(self, upload: Upload) -> Decoded | PictureFileRefused | DecoderLost:
        try:
            return await self.decoder.decode(upload)
        except (PictureFileRefused, DecoderLost) as fault:
            return fault

    async def write(
        self,
        owner: str,
        pictures: Pictures,
        record: Callable[[PutInputs], T],
        *,
        admission: Admission,
        stored: Collection[tuple[str, Sha256]] = (),
    ) -> T:
        """Put pictures, then write the record that names them and those `stored`: what is accepted always finds them.

        Pictures of a refused request that nobody else names are deleted again. Raises a Problem or a ContractError.
        """
        until = time.monotonic() + DELETING_SECONDS
        sizes = {picture.sha256: picture.size for picture in pictures.values()}
        if admission.digest is None and admission.held_bytes + sum(sizes.values()) > self.most:
            await self.calls.call(self._check_quota, owner, sizes, admission)

        written: set[Sha256] = set()

        def put_all(put: PutInputs) -> T:
            with self.free_space.reserved(0 if admission.digest else sum(sizes.values())):
                for picture in pictures.values():
                    self.blobs.put(input_name(picture.sha256), picture.png(), content_type="image/png")
                    written.add(picture.sha256)
                self._touch(stored)
                return record(put)

        put = PutInputs(sizes, max_bytes=self.most)
        try:
            while True:
                try:
                    return await self.blob_calls.call(put_all, put)
                except InputsDeleted as found:
                    if time.monotonic() > until:
                        raise Unavailable("a picture of this request is just being deleted; try again") from found
                    if found.deleting:
                        await asyncio.sleep(PAUSE_SECONDS)  # what is put meanwhile may go, too
                    else:
                        put = PutInputs(sizes, {**put.revived, **found.marks}, self.most)
        except StoreUnavailable:
            raise  # nobody can tell whether it was refused; the sweeper will
        except (ContractError, Problem):
            await self.blob_calls.call(self._discard, written)
            raise

    async def read_size(self, sha256: Sha256) -> Size:
        """Return width and height of a stored picture. Raises BlobError, Unavailable."""
        return await self.blob_calls.call(self._read_size, sha256)

    def _read_size(self, sha256: Sha256) -> Size:
        width, height = PNG_SIZE.unpack_from(read_input(self.blobs, sha256))
        return width, height

    def _check_quota(self, owner: str, sizes: Mapping[str, int], admission: Admission) -> None:
        held = self.inputs.held(owner, sizes)
        more = sum(size for sha256, size in sizes.items() if sha256 not in held)
        if more and admission.held_bytes + more > self.most:
            raise quota(self.most)

    def _discard(self, inputs: Collection[Sha256]) -> None:
        try:
            delete_unused(self.inputs, self.blobs, inputs)
        except (StoreUnavailable, BlobError) as fault:
            log.warning("pictures of a refused request stay until they are swept: %s", fault)

    def _touch(self, names: Iterable[tuple[str, Sha256]]) -> None:
        """Make stored pictures as young as those just sent, so that no sweep takes them. Raises Invalid."""
        for pointer, sha256 in names:
            try:
                self.blobs.put(input_name(sha256), read_input(self.blobs, sha256), content_type="image/png")
            except BlobMissing as gone:
                raise Invalid.of([Fault(pointer, f"{sha256} is not stored any more")]) from gone
            except BlobDamaged as damaged:
                raise Invalid.of(
                    [Fault(pointer, f"{sha256} is damaged where it is stored; send it again")]
                ) from damaged
