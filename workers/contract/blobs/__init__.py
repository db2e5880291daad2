"""The blob store: pictures and manifests by name, written once, on local disk or S3."""

from workers.contract.blobs.names import input_name, job_prefix, manifest_name, output_name
from workers.contract.blobs.opening import blob_folder, open_blobs
from workers.contract.blobs.pages import Pages
from workers.contract.blobs.store import BLOCK, BlobStore, BlobStream, Stored, read_input

__all__ = [
    "BLOCK",
    "BlobStore",
    "BlobStream",
    "Pages",
    "Stored",
    "blob_folder",
    "input_name",
    "job_prefix",
    "manifest_name",
    "open_blobs",
    "output_name",
    "read_input",
]
