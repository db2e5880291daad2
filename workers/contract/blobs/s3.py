"""Blobs as S3 objects: conditional writes where the server has them, bounded times, lost answers looked up."""

import logging
import secrets
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from threading import Lock
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from workers.contract.blobs.base import BLOCK, PROBES, BlobStream, Stored, exercise, is_content
from workers.contract.blobs.memory_file import Pages
from workers.contract.blobs.names import checked
from workers.contract.errors import (
    BlobError,
    BlobExists,
    BlobMissing,
    BlobRefused,
    BlobStoreUnavailable,
    Misconfigured,
)

log = logging.getLogger(__name__)

TAKEN = {"PreconditionFailed", "412"}
RACING = {"ConditionalRequestConflict", "OperationAborted", "409"}
UNKNOWN = {"NotImplemented", "501"}
ABSENT = {"NoSuchKey", "404", "NotFound"}
WRONG = {
    "NoSuchBucket": "there is no such bucket",
    "InvalidAccessKeyId": "the access key is not known",
    "SignatureDoesNotMatch": "the secret key is wrong",
    "PermanentRedirect": "the bucket is in another region",
}
DENIED = {"AccessDenied", "403"}
BUSY_CODES, BUSY_STATUSES = {"RequestTimeout", "SlowDown"}, {408, 425, 429}
TRIES = 4
DELETE_AT_ONCE = 1000


class S3Blobs:
    """A blob store in a bucket, below a prefix. Thread-safe, as boto3 clients are."""

    def __init__(self, client: Any, bucket: str, prefix: str = "") -> None:
        """Use a bucket through a boto3 S3 client; `prefix` is empty or ends in `/`."""
        self._client = client
        self._conditional = True
        self._bucket = bucket
        self._prefix = prefix
        self._where = f"s3://{bucket}/{prefix}"
        self._probe_name = f"{PROBES}{secrets.token_hex(8)}"
        self._probing = Lock()

    def put(self, name: str, data: bytes | Pages, *, content_type: str, if_absent: bool = True) -> None:
        """See BlobStore. When the answer is lost or refused, what is stored decides."""
        data = data.read() if isinstance(data, Pages) else data
        for _ in range(TRIES):
            try:
                if if_absent and not self._conditional and self._look(name) is not None:
                    raise BlobExists(name)
                self._put(name, data, content_type, if_absent=if_absent and self._conditional)
            except BlobExists:
                self._renew(name, data, content_type)
            except _Racing:
                continue
            except BlobStoreUnavailable:
                if self._look(name) != data:
                    raise
            return
        raise BlobStoreUnavailable(f"{self._where}{name} is being written by others without end")

    def get(self, name: str) -> bytes:
        """See BlobStore."""
        with self._faults(name):
            body: bytes = self._client.get_object(Bucket=self._bucket, Key=self._key(name))["Body"].read()
            return body

    def stream(self, name: str) -> BlobStream:
        """See BlobStore."""
        with self._faults(name):
            answer = self._client.get_object(Bucket=self._bucket, Key=self._key(name))
        body = answer["Body"]
        return BlobStream(answer["ContentLength"], self._blocks(name, body), body.close)

    def _blocks(self, name: str, body: Any) -> Iterator[bytes]:
        with self._faults(name):
            yield from body.iter_chunks(BLOCK)

    def delete(self, names: Iterable[str]) -> None:
        """See BlobStore."""
        keys = [self._key(name) for name in names]
        refused = []
        for at in range(0, len(keys), DELETE_AT_ONCE):
            for key in self._delete_together(keys[at : at + DELETE_AT_ONCE]):
                try:
                    with self._faults(key):
                        self._client.delete_object(Bucket=self._bucket, Key=key)
                except BlobMissing:
                    continue
                except BlobRefused as fault:
                    refused.append(fault)
        if refused:
            raise refused[0]

    def _delete_together(self, keys: Sequence[str]) -> Sequence[str]:
        """Delete objects by one request; return the keys of those left, which must be asked for one by one.

        Those are all where the server has no such request, or wants a Content-MD5, which boto3 no longer sends.
        """
        try:
            with self._faults(keys[0]):
                answer = self._client.delete_objects(
                    Bucket=self._bucket, Delete={"Objects": [{"Key": key} for key in keys], "Quiet": True}
                )
        except (BlobMissing, BlobRefused, _Unknown):
            return keys
        return [fault["Key"] for fault in answer.get("Errors", ())]

    def list(self, prefix: str) -> Iterator[Stored]:
        """See BlobStore."""
        checked(prefix.rstrip("/"))
        pages = self._client.get_paginator("list_objects_v2").paginate(
            Bucket=self._bucket, Prefix=self._prefix + prefix
        )
        with self._faults(prefix):
            for page in pages:
                for entry in page.get("Contents", ()):
                    yield Stored(entry["Key"].removeprefix(self._prefix), entry["Size"], entry["LastModified"])

    def probe(self) -> None:
        """See BlobStore. Finds out whether the server has conditional writes; without them a put looks first."""
        try:
            with self._probing:
                self._conditional = self._has_conditional_writes(self._probe_name)
            if not self._conditional:
                log.warning("%s has no conditional writes (If-None-Match): puts look before they write", self._where)
            exercise(self, self._where)
        except (_Refused, BlobRefused) as fault:
            raise Misconfigured(str(fault)) from fault

    def _has_conditional_writes(self, name: str) -> bool:
        """Find out by one name only: a server that refuses to delete keeps one object, however often it is probed."""
        self._put(name, b"first", "text/plain", if_absent=False)
        try:
            self._put(name, b"second", "text/plain", if_absent=True)
        except BlobExists:
            return True
        except _Unknown:
            return False
        finally:
            self.delete([name])
        return False

    def _put(self, name: str, data: bytes, content_type: str, *, if_absent: bool) -> None:
        condition: dict[str, Any] = {"IfNoneMatch": "*"} if if_absent else {}
        with self._faults(name):
            self._client.put_object(
                Bucket=self._bucket, Key=self._key(name), Body=data, ContentType=content_type, **condition
            )

    def _renew(self, name: str, data: bytes, content_type: str) -> None:
        """Put equal bytes again, so that the blob counts as put now. Raises BlobExists for other bytes.

        An input must be what its name says: bytes that are take the place of whatever is there.
        """
        if not is_content(name, data) and self._look(name) != data:
            raise BlobExists(f"{self._where}{name} is taken")
        self._put(name, data, content_type, if_absent=False)

    def _look(self, name: str) -> bytes | None:
        try:
            return self.get(name)
        except BlobMissing:
            return None

    def _key(self, name: str) -> str:
        return self._prefix + checked(name)

    @contextmanager
    def _faults(self, name: str) -> Iterator[None]:
        """Turn the server's faults into ours."""
        try:
            yield
        except ClientError as fault:
            raise self._fault(name, fault) from fault
        except BotoCoreError as fault:
            raise BlobStoreUnavailable(f"{self._where} does not answer: {fault}") from fault

    def _fault(self, name: str, fault: ClientError) -> BlobError:
        error = fault.response.get("Error", {})
        status = fault.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        code = error.get("Code") or str(status)
        said = f"{code}: {error.get('Message')}" if error.get("Message") else code
        if code in ABSENT:
            return BlobMissing(f"{name} is not stored")
        if code in TAKEN:
            return BlobExists(f"{name} is taken")
        if code in RACING:
            return _Racing(f"{name} is being written")
        if code in UNKNOWN:
            return _Unknown(f"{self._where} does not know how to do what was asked for {name} ({said})")
        if code in WRONG:
            return _Refused(f"{self._where}: {WRONG[code]} ({said})")
        if code in DENIED:
            return BlobRefused(f"{self._where}: access is denied to {name} ({said})")
        if 400 <= status < 500 and status not in BUSY_STATUSES and code not in BUSY_CODES:
            return BlobRefused(f"{self._where} refuses {name} ({said})")
        return BlobStoreUnavailable(f"{self._where} fails for {name} ({said})")


class _Racing(BlobError):
    """Another put of the same name was under way; ask again."""


class _Unknown(BlobStoreUnavailable):
    """The server does not implement what was asked."""


class _Refused(BlobStoreUnavailable):
    """The server answers, but not to us: a matter of settings or rights."""
