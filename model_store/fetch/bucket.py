"""An S3 mirror: `s3://bucket/prefix/<repository>/<path>`, read with boto3."""

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError

from model_store.errors import AccessDenied, ModelNotFound, SourceUnavailable
from model_store.fetch.source import RemoteFile, RemoteStream
from model_store.store.files import BLOCK

_ABSENT = frozenset({"404", "NoSuchKey", "NoSuchBucket", "NotFound"})
_DENIED = frozenset({"401", "403", "AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch"})


class Bucket:
    """Files of a mirror in a bucket. A mirror has no revisions: what it holds now is what is fetched."""

    def __init__(self, client: Any, bucket: str, prefix: str = "") -> None:
        """`client` is boto3's client of S3."""
        self._client = client
        self._bucket = bucket
        self._prefix = f"{prefix.strip('/')}/" if prefix.strip("/") else ""

    def names(self, repository: str, revision: str) -> Sequence[str]:
        """Return the paths of all files of a repository."""
        folder = f"{self._prefix}{repository}/"
        with self._translated(folder):
            pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=self._bucket, Prefix=folder)
            return [found["Key"].removeprefix(folder) for page in pages for found in page.get("Contents", [])]

    def stat(self, repository: str, revision: str, path: str) -> RemoteFile:
        """Return size and tag of a file; S3 states no SHA-256. Raises FetchError's kinds."""
        key = f"{self._prefix}{repository}/{path}"
        with self._translated(key):
            found = self._client.head_object(Bucket=self._bucket, Key=key)
        return RemoteFile(repository, revision, path, found["ContentLength"], found["ETag"])

    @contextmanager
    def read(self, file: RemoteFile, start: int) -> Iterator[RemoteStream]:
        """Open a file from byte `start`."""
        key = f"{self._prefix}{file.repository}/{file.path}"
        with self._translated(key):
            if start >= file.size:
                yield RemoteStream(start, iter(()))
                return
            span = f"bytes={start}-"
            found = self._client.get_object(Bucket=self._bucket, Key=key, Range=span, IfMatch=file.tag)
            with closing(found["Body"]) as body:
                yield RemoteStream(start, body.iter_chunks(BLOCK))

    @contextmanager
    def _translated(self, key: str) -> Iterator[None]:
        """Turn the library's errors into ours."""
        try:
            yield
        except ClientError as fault:
            code = str(fault.response.get("Error", {}).get("Code", ""))
            where = f"s3://{self._bucket}/{key}"
            if code in _ABSENT:
                raise ModelNotFound(f"{where} is not there") from fault
            if code in _DENIED:
                raise AccessDenied(f"{where}: the mirror refuses these credentials ({code})") from fault
            raise SourceUnavailable(f"{where}: {code}") from fault
        except (BotoCoreError, HTTPClientError) as fault:
            raise SourceUnavailable(f"s3://{self._bucket}/{key}: {fault}") from fault
