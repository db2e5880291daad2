"""`python -m tests.faults.harness.worker FOLDER`: the real worker process around the fake engine."""

import argparse
import os
import sys
import warnings
from pathlib import Path
from unittest.mock import patch

from celery.platforms import SecurityWarning

from tests.faults.harness.fake import FakeEngine
from tests.faults.harness.watched import MoodyBlobs, listening_mark, open_store
from workers.contract.blobs import open_blobs
from workers.contract.runtime import logs
from workers.contract.runtime.redis import connect
from workers.settings import WorkerSettings
from workers.techniques import registry
from workers.worker.metrics import WorkerMetrics
from workers.worker.process import Worker


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults.harness.worker", description=__doc__)
    parser.add_argument("folder", type=Path, help="where the journal and the troubles are kept")
    parser.add_argument("--step-seconds", type=float, default=0.05)
    parser.add_argument("--planted", default="", help="a fault in the scripts")
    options = parser.parse_args()
    warnings.filterwarnings("ignore", category=SecurityWarning)
    settings = WorkerSettings.read()
    logs.configure("worker", settings)
    store = open_store(settings, options.folder, options.planted)
    worker = Worker(
        settings,
        redis=connect(settings.redis_url),
        store=store,
        blobs=MoodyBlobs(open_blobs(settings), options.folder / "mood"),
        engine=FakeEngine(store.troubles, options.step_seconds),
        warm=lambda _: dict.fromkeys(registry.names(), ""),
        metrics=WorkerMetrics(),
    )
    begin = worker.watchdog.start

    def listening() -> None:
        listening_mark(options.folder, os.getpid()).touch()
        begin()

    with patch.object(worker.watchdog, "start", listening):
        return worker.run()


if __name__ == "__main__":
    sys.exit(main())
