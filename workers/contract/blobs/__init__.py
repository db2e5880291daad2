"""The blob store: pictures and manifests by name, written once, on local disk or S3."""

from workers.contract.blobs.base import BLOCK, BlobStore, BlobStream, Stored, read_input
from workers.contract.blobs.memory_file import Pages
from workers.contract.blobs.names import control_map_name, input_name, job_prefix, manifest_name, output_name
from workers.contract.blobs.open import blob_folder, open_blobs

__all__ = [
    "BLOCK",
    "BlobStore",
    "BlobStream",
    "Pages",
    "Stored",
    "blob_folder",
    "control_map_name",
    "input_name",
    "job_prefix",
    "manifest_name",
    "open_blobs",
    "output_name",
    "read_input",
]
