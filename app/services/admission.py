"""Pictures are stored only for what is let in: room is looked for first, and what is refused leaves nothing."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from contextlib import asynccontextmanager
from typing import TypeVar

from app.dependencies import Services
from app.errors import Fault, PictureRefused, Problem, Unavailable
from app.services.stored_inputs import touch
from app.uploads.decoder.pool import Decoded, DecoderLost
from app.uploads.limits import PictureFileRefused
from app.uploads.upload import Upload
from workers.contract.blobs import input_name
from workers.contract.blobs.names import Sha256
from workers.contract.errors import BlobError, ContractError, InputsDeleted, StoreUnavailable
from workers.contract.jobs.admission import Admission, PutInputs, quota
from workers.contract.jobs.inputs import delete_unused

log = logging.getLogger(__name__)

T = TypeVar("T")
Pictures = Mapping[str, Decoded]
"""Decoded pictures by the pointer of their field."""
DELETING_SECONDS = 5.0
"""How long a request waits for the deletion of a picture that it brings again."""
PAUSE_SECONDS = 0.05


async def admit(services: Services, owner: str, key: str | None = None, *, jobs: int = 1) -> Admission:
    """Find out whether an owner may ask for more jobs, before their pictures are decoded. Raises a ContractError."""
    most = services.ring.in_flight(owner)
    return await services.call(services.store.admit, owner, key, jobs=jobs, max_active=most)


@asynccontextmanager
async def decoded(services: Services, uploads: list[Upload]) -> AsyncIterator[Pictures]:
    """Give the decoded pictures. Raises PictureRefused naming all that failed, or Unavailable."""
    if len(uploads) == 1:  # the usual case needs no task of its own
        results = [await _attempt(services, uploads[0])]
    else:
        results = await asyncio.gather(*(_attempt(services, upload) for upload in uploads))
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


async def _attempt(services: Services, upload: Upload) -> Decoded | PictureFileRefused | DecoderLost:
    try:
        return await services.decoder.decode(upload)
    except (PictureFileRefused, DecoderLost) as fault:
        return fault


async def store(
    services: Services,
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
    most = services.settings.gateway_owner_bytes
    if admission.digest is None and admission.held_bytes + sum(sizes.values()) > most:
        await services.call(_check_quota, services, owner, sizes, admission, most)

    written: set[Sha256] = set()

    def write(put: PutInputs) -> T:
        with services.free_space.reserved(0 if admission.digest else sum(sizes.values())):
            for picture in pictures.values():
                services.blobs.put(input_name(picture.sha256), picture.png(), content_type="image/png")
                written.add(picture.sha256)
            touch(services, stored)
            return record(put)

    put = PutInputs(sizes, max_bytes=most)
    try:
        while True:
            try:
                return await services.blob_calls.call(write, put)
            except InputsDeleted as found:
                if time.monotonic() > until:
                    raise Unavailable("a picture of this request is just being deleted; try again") from found
                if found.deleting:
                    await asyncio.sleep(PAUSE_SECONDS)  # what is put meanwhile may go, too
                else:
                    put = PutInputs(sizes, {**put.revived, **found.marks}, most)
    except StoreUnavailable:
        raise  # nobody can tell whether it was refused; the sweeper will
    except (ContractError, Problem):
        await services.blob_calls.call(_discard, services, written)
        raise


def _check_quota(services: Services, owner: str, sizes: Mapping[str, int], admission: Admission, most: int) -> None:
    held = services.store.inputs.held(owner, sizes)
    more = sum(size for sha256, size in sizes.items() if sha256 not in held)
    if more and admission.held_bytes + more > most:
        raise quota(most)


def _discard(services: Services, inputs: Collection[Sha256]) -> None:
    try:
        delete_unused(services.store.inputs, services.blobs, inputs)
    except (StoreUnavailable, BlobError) as fault:
        log.warning("pictures of a refused request stay until they are swept: %s", fault)
