"""A source by the words of an operator: `hub`, `s3://bucket/prefix` or a folder."""

from pathlib import Path

from model_store.errors import ModelNotFound
from model_store.fetch.source import Source

TIMEOUT_SECONDS = 20.0


def open_source(words: str, *, s3_endpoint_url: str | None = None, timeout_seconds: float = TIMEOUT_SECONDS) -> Source:
    """Return the source that `words` name. Raises ModelNotFound when a folder is not there.

    The hub is reached as HF_ENDPOINT and HF_TOKEN say, which huggingface_hub reads; credentials of S3 are boto3's.
    """
    if words == "hub":
        from model_store.fetch.hub import Hub

        return Hub(timeout_seconds=timeout_seconds)
    if words.startswith("s3://"):
        return _bucket(words.removeprefix("s3://"), s3_endpoint_url, timeout_seconds)
    from model_store.fetch.folder import Folder

    folder = Path(words).expanduser()
    if not folder.is_dir():
        raise ModelNotFound(f"{words} is neither 'hub', nor s3://BUCKET[/PREFIX], nor a folder")
    return Folder(folder)


def _bucket(words: str, endpoint_url: str | None, timeout_seconds: float) -> Source:
    import boto3
    from botocore.config import Config

    from model_store.fetch.bucket import Bucket

    bucket, _, prefix = words.partition("/")
    policy = Config(connect_timeout=timeout_seconds, read_timeout=timeout_seconds, retries={"max_attempts": 2})
    return Bucket(boto3.client("s3", endpoint_url=endpoint_url, config=policy), bucket, prefix)
