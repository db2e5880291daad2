"""The errors that gateway and workers agree on.

ContractError                  a stable code, a sentence for people
|-- StoreUnavailable           Redis does not answer or does not confirm a write
|-- QueueFull                  too many jobs queued, or Redis is near its memory limit
|-- TooManyActive              the owner has as many unfinished jobs as it may have
|-- OwnerRevoked               the owner's key was revoked a moment ago
|-- StorageQuota               the owner's jobs and styles would name too many bytes of pictures
|-- InputsDeleted              a picture to be named may be deleted: put it again
|-- IdempotencyConflict        the key was used with another body
|-- Misconfigured              a setting, or Redis itself, is not as we need it
`-- BlobError
    |-- BlobMissing            nothing is stored under that name
    |-- BlobExists             put-if-absent found something else there
    |-- BlobDamaged            what is stored is not what its name says
    |-- BlobRefused            the disk or S3 refuses this one name
    `-- BlobStoreUnavailable   the disk or S3 does not answer, is full or read-only: no name is served
"""

from collections.abc import Mapping


class ContractError(Exception):
    """Root of the tree; `code` is stable and may be shown to callers."""

    code = "internal"


class StoreUnavailable(ContractError):
    """Redis does not answer or did not confirm a write; the caller may try again."""

    code = "store-unavailable"


class QueueFull(ContractError):
    """The queue takes no more jobs now; try again after `retry_after` seconds."""

    code = "queue-full"

    def __init__(self, detail: str, *, retry_after: int) -> None:
        super().__init__(detail)
        self.retry_after = retry_after


class TooManyActive(ContractError):
    """The owner has as many unfinished jobs as it may have; try again after `retry_after` seconds."""

    code = "too-many-active"

    def __init__(self, detail: str, *, retry_after: int) -> None:
        super().__init__(detail)
        self.retry_after = retry_after


class OwnerRevoked(ContractError):
    """The key that owns the jobs was revoked since the request was let in."""

    code = "owner-revoked"


class StorageQuota(ContractError):
    """The pictures that the owner's jobs and styles name would have more bytes than they may have."""

    code = "storage-quota"


class InputsDeleted(ContractError):
    """Pictures to be named may be deleted by now: wait while some are `deleting`, else put them again."""

    code = "inputs-deleted"

    def __init__(self, marks: Mapping[str, int], *, deleting: bool) -> None:
        super().__init__(f"{len(marks)} pictures may be deleted")
        self.marks = dict(marks)
        self.deleting = deleting


class UnreadableRecord(ContractError):
    """A stored record is damaged, or of a release whose records this one does not know."""

    code = "unreadable-record"

    def __init__(self, detail: str, owner: str | None = None) -> None:
        super().__init__(detail)
        self.owner = owner


class IdempotencyConflict(ContractError):
    """The Idempotency-Key was used before with another request."""

    code = "idempotency-conflict"


class Misconfigured(ContractError):
    """A setting or a server is not as we need it; the text names which and what to do."""

    code = "misconfigured"


class BlobError(ContractError):
    """Root of the blob store's errors."""

    code = "blob"


class BlobMissing(BlobError):
    """Nothing is stored under that name."""

    code = "blob-missing"


class BlobExists(BlobError):
    """Put-if-absent found other bytes under that name."""

    code = "blob-exists"


class BlobDamaged(BlobError):
    """What is stored under a name is not the content that the name says."""

    code = "blob-damaged"


class BlobRefused(BlobError):
    """The disk or the S3 server refuses this one name: no rights, an unreadable sector, a folder in its place."""

    code = "blob-refused"


class BlobStoreUnavailable(BlobError):
    """The disk or the S3 server does not answer, is full or is read-only."""

    code = "blob-store-unavailable"
