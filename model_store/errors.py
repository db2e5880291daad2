"""The errors of the model store.

ModelStoreError                  a stable code, a sentence for people that says what to do
|-- InvalidId                    the id that was asked for cannot be one
|-- UnknownModel                 the catalogue has no such id (also a KeyError)
|-- NotInstalled                 known, but not in the store; the text has the command that fetches it
|-- StoreBusy                    another process changes the same model now
|-- StoreDamaged                 the lock file or an entry of the store cannot be read
|-- FetchError
|   |-- SourceUnavailable        the hub, the mirror or the disk does not answer; try again
|   |-- NotFound                 the source has no such repository, revision or file
|   |-- AccessDenied             gated or private: accept the licence, give a token
|   |-- NotEnoughSpace           the disk cannot take it
|   |-- DigestMismatch           not the bytes that were pinned
|   `-- Interrupted              stopped by the caller; what is there will be resumed
|-- ConversionFailed             the pickled checkpoint was refused or could not be read
`-- BadCheckpoint                a file is not what it must be; names file and key
    |-- MalformedFile            not a sound safetensors file
    `-- WrongKeys                a tensor is missing, unexpected, or of another shape
"""


class ModelStoreError(Exception):
    """Root of the tree; `code` is stable and may be shown to callers."""

    code = "model-store"


class UnknownModel(ModelStoreError, KeyError):
    """The catalogue has no such id."""

    code = "unknown-model"

    def __str__(self) -> str:
        return " ".join(map(str, self.args))


class InvalidId(ModelStoreError):
    """The id that was asked for cannot be one."""

    code = "invalid-id"


class AlreadyKnown(ModelStoreError):
    """The id is taken by another model."""

    code = "already-known"


class NotInstalled(ModelStoreError):
    """The model is known but not, or not wholly, in the store."""

    code = "model-not-installed"


class StoreBusy(ModelStoreError):
    """Another process is changing the same model."""

    code = "store-busy"


class StillNeeded(ModelStoreError):
    """Another installed model requires the one to be removed."""

    code = "still-needed"


class StoreDamaged(ModelStoreError):
    """A file the store keeps about itself cannot be read."""

    code = "store-damaged"


class FetchError(ModelStoreError):
    """Root of everything that can go wrong while bytes are fetched."""

    code = "fetch"


class SourceUnavailable(FetchError):
    """The source does not answer or broke off too often; what has arrived is kept and resumed."""

    code = "source-unavailable"


class ModelNotFound(FetchError):
    """The source has no such repository, revision or file."""

    code = "not-found"


class AccessDenied(FetchError):
    """The source wants an accepted licence or a token."""

    code = "access-denied"


class NotEnoughSpace(FetchError):
    """The disk cannot take what is to be fetched."""

    code = "not-enough-space"


class DigestMismatch(FetchError):
    """The bytes are not the ones that were pinned."""

    code = "digest-mismatch"


class PullInterrupted(FetchError):
    """The caller stopped the work."""

    code = "interrupted"


class ConversionFailed(ModelStoreError):
    """A pickled checkpoint was refused, or reading it broke a limit."""

    code = "conversion-failed"


class BadCheckpoint(ModelStoreError):
    """A checkpoint is not what it must be; the text names file and key."""

    code = "bad-checkpoint"


class MalformedFile(BadCheckpoint):
    """The file is not a sound safetensors file."""

    code = "malformed-file"


class WrongKeys(BadCheckpoint):
    """A tensor is missing, unexpected, or has another shape than the model."""

    code = "wrong-keys"
