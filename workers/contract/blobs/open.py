"""From the settings to a blob store."""

import re
from pathlib import Path
from typing import Any

from workers.contract.blobs.base import BlobStore
from workers.contract.blobs.disk import DiskBlobs
from workers.contract.errors import Misconfigured
from workers.contract.runtime.settings import Settings

CONNECT_SECONDS = 2.0
ANSWER_SECONDS = 12.0
ATTEMPTS = 3
"""A put without an answer is looked up: twice all this must be less than a worker's step may take."""
BUCKET = re.compile(r"s3://([A-Za-z0-9._-]{1,255})(/.*)?")
MOST_PORT = 65535
ENDPOINT = re.compile(r"https?://([a-z0-9.-]+|\[[0-9a-f:.]+\])(:([0-9]{1,5}))?(/[^\s?#@]*)?", re.IGNORECASE)


def open_blobs(settings: Settings) -> BlobStore:
    """Return the store of STYLIZE_BLOB_URL, not yet probed. Raises Misconfigured for a URL that is none."""
    url = settings.blob_url
    if folder := blob_folder(settings):
        return DiskBlobs(folder)
    if bucket := BUCKET.fullmatch(url):
        return _open_s3(settings, bucket[1], (bucket[2] or "").strip("/"))
    raise Misconfigured(f"STYLIZE_BLOB_URL: {url!r} is neither file:PATH nor s3://BUCKET[/PREFIX]")


def blob_folder(settings: Settings) -> Path | None:
    """Return the folder of a store on disk; None for another."""
    kind, _, path = settings.blob_url.partition(":")
    path = path.removeprefix("//")
    return Path(path) if kind == "file" and path else None


def s3_client(settings: Settings) -> Any:
    """Return a boto3 client of the settings' S3 server, bounded in time; the keys are found as boto3 finds them.

    Raises Misconfigured for an address, a region or a profile that boto3 does not take.
    """
    # boto3 takes a third of a second to import, which a store on disk need not pay.
    import boto3
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError

    bounded = Config(
        connect_timeout=CONNECT_SECONDS,
        read_timeout=ANSWER_SECONDS,
        retries={"total_max_attempts": ATTEMPTS, "mode": "standard"},
        max_pool_connections=32,
        # Servers other than AWS's refuse or damage puts with the checksums that boto3 adds by itself.
        request_checksum_calculation="when_required",
    )
    endpoint = _endpoint(settings)
    try:
        return boto3.session.Session().client(
            "s3", endpoint_url=endpoint, region_name=settings.s3_region, config=bounded
        )
    except (BotoCoreError, ValueError) as fault:
        raise Misconfigured(f"no S3 client for STYLIZE_S3_ENDPOINT_URL and STYLIZE_S3_REGION: {fault}") from fault


def _endpoint(settings: Settings) -> str | None:
    """Return the address of the S3 server, None for AWS's. Raises Misconfigured."""
    url = (settings.s3_endpoint_url or "").strip()
    found = ENDPOINT.fullmatch(url)
    if url and (found is None or int(found[3] or 0) > MOST_PORT):
        shown = "" if "@" in url else f"{url!r} "
        raise Misconfigured(
            f"STYLIZE_S3_ENDPOINT_URL: {shown}is not http://HOST[:PORT] or https://HOST[:PORT], the host of letters, "
            "digits, '-' and '.': give a server with '_' in its name an alias, or name its address"
        )
    return url or None


def _open_s3(settings: Settings, bucket: str, prefix: str) -> BlobStore:
    from workers.contract.blobs.s3 import S3Blobs

    return S3Blobs(s3_client(settings), bucket, f"{prefix}/" if prefix else "")
