"""Addresses we hand out. Those of pictures are signed and expire when a key is configured."""

import hmac
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256

PREVIEW = "preview"


@dataclass(frozen=True)
class Links:
    """Builds and checks addresses; `public_url` is empty for relative ones, `key` empty for unsigned ones."""

    public_url: str = ""
    key: bytes = b""
    lifetime: int = 3600

    def job(self, job_id: str) -> str:
        """Return the address of a job."""
        return f"{self.public_url}/jobs/{job_id}"

    def image(self, job_id: str, number: int) -> tuple[str, datetime | None]:
        """Return the address of a picture, and when it expires."""
        address = f"{self.job(job_id)}/images/{number}"
        if not self.key:
            return address, None
        expires, signature = self._signed(job_id, number)
        signed = f"{address}?expires={expires}&signature={signature}"
        return signed, datetime.fromtimestamp(expires, tz=UTC)

    def preview(self, job_id: str, step: int) -> str:
        """Return the address of a job's newest preview, made after a step."""
        address = f"{self.job(job_id)}/preview?step={step}"
        if not self.key:
            return address
        expires, signature = self._signed(job_id, PREVIEW)
        return f"{address}&expires={expires}&signature={signature}"

    def admits(self, job_id: str, what: int | str, expires: int | None, signature: str | None) -> bool:
        """Return whether an address of a picture, by its number, or of the PREVIEW is one of ours and still good."""
        if not self.key:
            return True
        if expires is None or signature is None or expires < time.time():
            return False
        return hmac.compare_digest(self._signature(job_id, what, expires).encode(), signature.encode())

    def _signed(self, job_id: str, what: int | str) -> tuple[int, str]:
        expires = int(time.time()) + self.lifetime
        return expires, self._signature(job_id, what, expires)

    def _signature(self, job_id: str, what: int | str, expires: int) -> str:
        return hmac.new(self.key, f"{job_id}/{what}/{expires}".encode(), sha256).hexdigest()
