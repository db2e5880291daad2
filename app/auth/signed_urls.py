"""Addresses we hand out. Those of pictures are signed and expire when a key is configured."""

import hmac
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256

PREVIEW, CONTROL_MAP = "preview", "control-map"


@dataclass(frozen=True)
class Links:
    """Builds and checks addresses; `public_url` is empty for relative ones, `key` empty for unsigned ones.

    Addresses signed with the `previous` key are good until they expire.
    """

    public_url: str = ""
    key: bytes = b""
    lifetime: int = 3600
    previous: bytes = b""

    def job(self, job_id: str) -> str:
        """Return the address of a job."""
        return f"{self.public_url}/jobs/{job_id}"

    def image(self, job_id: str, number: int) -> tuple[str, datetime | None]:
        """Return the address of a picture, and when it expires."""
        return self._expiring(job_id, f"images/{number}", number)

    def control_map(self, job_id: str) -> tuple[str, datetime | None]:
        """Return the address of the map that a job made, and when it expires."""
        return self._expiring(job_id, CONTROL_MAP, CONTROL_MAP)

    def _expiring(self, job_id: str, path: str, what: int | str) -> tuple[str, datetime | None]:
        address = f"{self.job(job_id)}/{path}"
        if not self.key:
            return address, None
        expires, signature = self._signed(job_id, what)
        signed = f"{address}?expires={expires}&signature={signature}"
        return signed, datetime.fromtimestamp(expires, tz=UTC)

    def preview(self, job_id: str, step: int) -> str:
        """Return the address of a job's newest preview, made after a step."""
        address = f"{self.job(job_id)}/preview?step={step}"
        if not self.key:
            return address
        expires, signature = self._signed(job_id, PREVIEW)
        return f"{address}&expires={expires}&signature={signature}"

    def admits(self, job_id: str, what: int | str, expires: str | None, signature: str | None) -> bool:
        """Return whether an address of a picture, by its number, of the PREVIEW or CONTROL_MAP is ours and still good.

        `expires` is in plain decimal digits: each moment has one spelling.
        """
        if not self.key:
            return True
        if expires is None or signature is None or int(expires) < time.time():
            return False
        keys = filter(None, (self.key, self.previous))
        made = [_signature(key, job_id, what, int(expires)) for key in keys]
        return any(hmac.compare_digest(one.encode(), signature.encode()) for one in made)

    def _signed(self, job_id: str, what: int | str) -> tuple[int, str]:
        expires = int(time.time()) + self.lifetime
        return expires, _signature(self.key, job_id, what, expires)


def _signature(key: bytes, job_id: str, what: int | str, expires: int) -> str:
    return hmac.new(key, f"{job_id}/{what}/{expires}".encode(), sha256).hexdigest()
