"""The public model hub, or a mirror that speaks its protocol (HF_ENDPOINT, HF_TOKEN), by huggingface_hub."""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import httpx2
from huggingface_hub import HfApi, constants, get_hf_file_metadata, get_session, hf_hub_url
from huggingface_hub.errors import (
    EntryNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.utils import build_hf_headers, hf_raise_for_status  # type: ignore[attr-defined]

from model_store.errors import AccessDenied, FetchError, ModelNotFound, SourceUnavailable
from model_store.fetch.source import RemoteFile, RemoteStream

_SHA256 = re.compile(r"[0-9a-f]{64}")
_SHA1 = re.compile(r"[0-9a-f]{40}")


class Hub:
    """Files of the hub. Without `endpoint` and `token`, huggingface_hub's own settings count."""

    def __init__(self, *, timeout_seconds: float, endpoint: str | None = None, token: str | None = None) -> None:
        self._endpoint = endpoint or constants.ENDPOINT
        self._token = token
        self._timeout = timeout_seconds

    def names(self, repository: str, revision: str) -> Sequence[str]:
        """Return the paths of all files of a repository."""
        with self._translated(repository):
            return HfApi(endpoint=self._endpoint, token=self._token).list_repo_files(repository, revision=revision)

    def stat(self, repository: str, revision: str, path: str) -> RemoteFile:
        """Return size, digest and commit of a file. Raises FetchError's kinds."""
        url = hf_hub_url(repository, path, revision=revision, endpoint=self._endpoint)
        with self._translated(repository):
            found = get_hf_file_metadata(url, token=self._token, timeout=self._timeout, endpoint=self._endpoint)
        if found.size is None or found.etag is None:
            raise ModelNotFound(f"{url}: the server states neither size nor digest")
        sha256 = found.etag if _SHA256.fullmatch(found.etag) else None
        sha1 = found.etag if _SHA1.fullmatch(found.etag) else None
        commit = found.commit_hash or revision
        return RemoteFile(repository, commit, path, found.size, found.etag, sha256, sha1)

    @contextmanager
    def read(self, file: RemoteFile, start: int) -> Iterator[RemoteStream]:
        """Open a file from byte `start`.

        hf_hub_download is not used: it writes to a new file at each call and deletes that when it is stopped, so that a
        pull that was killed would begin anew.
        """
        url = hf_hub_url(file.repository, file.path, revision=file.revision, endpoint=self._endpoint)
        asked = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={start}-"} if start else {})
        headers = build_hf_headers(token=self._token, headers=asked)
        with (
            self._translated(file.repository),
            get_session().stream("GET", url, headers=headers, timeout=self._timeout) as response,
        ):
            hf_raise_for_status(response)
            yield RemoteStream(
                start if response.status_code == httpx2.codes.PARTIAL_CONTENT else 0, response.iter_bytes()
            )

    @contextmanager
    def _translated(self, repository: str) -> Iterator[None]:
        """Turn the library's errors into ours."""
        try:
            yield
        except (EntryNotFoundError, RevisionNotFoundError) as fault:
            raise ModelNotFound(f"{repository}: {_first_line(fault)}") from fault
        except GatedRepoError as fault:
            raise AccessDenied(self._gated(repository)) from fault
        except RepositoryNotFoundError as fault:
            hint = "it does not exist, or it is private and HF_TOKEN does not open it"
            raise ModelNotFound(f"{self._endpoint}/{repository}: {hint}") from fault
        except HfHubHTTPError as fault:
            raise self._by_status(repository, fault) from fault
        except (httpx2.HTTPError, OfflineModeIsEnabled) as fault:
            raise SourceUnavailable(f"{self._endpoint}: {type(fault).__name__}: {fault}") from fault

    def _by_status(self, repository: str, fault: HfHubHTTPError) -> FetchError:
        status = fault.response.status_code
        if status in (httpx2.codes.UNAUTHORIZED, httpx2.codes.FORBIDDEN):
            return AccessDenied(self._gated(repository))
        if status == httpx2.codes.NOT_FOUND:
            return ModelNotFound(f"{repository}: {_first_line(fault)}")
        return SourceUnavailable(f"{self._endpoint} answered {status} for {repository}")

    def _gated(self, repository: str) -> str:
        return (
            f"{repository} is gated: sign in, read and accept its licence on {self._endpoint}/{repository}, make a "
            f"token that may read it on {self._endpoint}/settings/tokens, set HF_TOKEN to it and pull again"
        )


def _first_line(fault: Exception) -> str:
    lines = [line for line in str(fault).splitlines() if line.strip()]
    return lines[0] if lines else type(fault).__name__
