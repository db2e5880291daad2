"""From the settings to a blob store."""

from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from workers.contract.blobs.disk import DiskBlobs
from workers.contract.blobs.store import BlobStore
from workers.contract.errors import Misconfigured
from workers.contract.settings import Settings

CONNECT_SECONDS = 2.0
ANSWER_SECONDS = 20.0
ATTEMPTS = 3


def open_blobs(settings: Settings) -> BlobStore:
    """Return the store of STYLIZE_BLOB_URL, not yet probed. Raises Misconfigured for a URL that is none."""
    url = settings.blob_url
    if url.startswith("file:") and (path := url.removeprefix("file:").removeprefix("//")):
        return DiskBlobs(Path(path))
    if url.startswith("s3://") and urlsplit(url).netloc:
        return _open_s3(settings)
    raise Misconfigured(f"STYLIZE_BLOB_URL: {url!r} is neither file:PATH nor s3://BUCKET[/PREFIX]")


def s3_client(settings: Settings) -> Any:
    """Return a boto3 client of the settings' S3 server, bounded in time; the keys are found as boto3 finds them."""
    # boto3 takes a third of a second to import, which a store on disk need not pay.
    import boto3
    from botocore.config import Config

    bounded = Config(
        connect_timeout=CONNECT_SECONDS,
        read_timeout=ANSWER_SECONDS,
        retries={"total_max_attempts": ATTEMPTS, "mode": "standard"},
        max_pool_connections=32,
    )
    return boto3.session.Session().client(
        "s3", endpoint_url=settings.s3_endpoint_url, region_name=settings.s3_region, config=bounded
    )


def _open_s3(settings: Settings) -> BlobStore:
    from workers.contract.blobs.s3 import S3Blobs

    parts = urlsplit(settings.blob_url)
    prefix = parts.path.strip("/")
    return S3Blobs(s3_client(settings), parts.netloc, f"{prefix}/" if prefix else "")
