"""`python -m deploy.compose.make_bucket`: make the bucket of STYLIZE_BLOB_URL on the S3 server, unless it is there."""

import argparse
import sys
from urllib.parse import urlsplit

from botocore.exceptions import BotoCoreError, ClientError

from workers.contract.blobs.open import s3_client
from workers.contract.errors import Misconfigured
from workers.contract.runtime.settings import Settings

THERE = ("BucketAlreadyOwnedByYou", "BucketAlreadyExists")


def make_bucket(settings: Settings) -> str:
    """Make the bucket unless it is there; return its name. Raises Misconfigured, ClientError, BotoCoreError."""
    parts = urlsplit(settings.blob_url)
    if parts.scheme != "s3" or not parts.netloc:
        raise Misconfigured(f"STYLIZE_BLOB_URL is {settings.blob_url}, not s3://BUCKET[/PREFIX]")
    elsewhere = {} if settings.s3_region == "us-east-1" else {"LocationConstraint": settings.s3_region}
    try:
        more = {"CreateBucketConfiguration": elsewhere} if elsewhere else {}
        s3_client(settings).create_bucket(Bucket=parts.netloc, **more)
    except ClientError as fault:
        if fault.response.get("Error", {}).get("Code") not in THERE:
            raise
    return parts.netloc


def main() -> int:
    """Make the bucket; returns the exit status: 1 when the server refuses, 2 for a wrong setting."""
    argparse.ArgumentParser(prog="python -m deploy.compose.make_bucket", description=__doc__).parse_args()
    try:
        print(f"bucket {make_bucket(Settings.read())} is there")
    except Misconfigured as fault:
        print(f"bucket: {fault}", file=sys.stderr)
        return 2
    except (ClientError, BotoCoreError) as fault:
        print(f"bucket: {fault}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
