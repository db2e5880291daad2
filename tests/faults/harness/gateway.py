"""`python -m tests.faults.harness.gateway FOLDER`: the real gateway, with trouble around record and wake-up."""

import sys
from pathlib import Path
from unittest.mock import patch

from redis import Redis

from app import __main__ as gateway
from tests.faults.harness.watched import open_store
from workers.contract.jobs.store import JobStore
from workers.contract.runtime.settings import Settings


def main() -> int:
    folder = Path(sys.argv[1])

    def watched(_: type[JobStore], settings: Settings, redis: Redis | None = None) -> JobStore:
        return open_store(settings, folder)

    with patch.object(JobStore, "from_settings", classmethod(watched)):
        return gateway.main()


if __name__ == "__main__":
    sys.exit(main())
