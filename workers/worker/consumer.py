"""The consumer: a Celery worker of one solo process that drains the job store whenever it is woken."""

import logging
import signal
from collections.abc import Callable, Sequence
from itertools import chain
from types import FrameType

from celery import Celery
from celery.signals import setup_logging, worker_ready, worker_shutting_down

from workers.contract.queue.celery import WAKE, create_celery, queue_names

log = logging.getLogger(__name__)


def create_consumer(redis_url: str, drain: Callable[[], int]) -> Celery:
    """Return the Celery app whose one task, a wake-up with a job id as a hint, calls `drain`."""
    app = create_celery(redis_url)

    @app.task(name=WAKE, ignore_result=True, typing=False)
    def wake(*hint: object, **_: object) -> None:
        log.debug("woken for %.64r", hint)
        drain()

    return app


def consume(
    app: Celery,
    queues: Sequence[str],
    *,
    name: str,
    ready: Callable[[], object],
    stopping: Callable[[], object],
    hurrying: Callable[[], object],
) -> int:
    """Wait for wake-ups until SIGTERM; return the exit status.

    `ready` is called once the consumer listens, `stopping` from the signal handler of a shutdown, `hurrying` from that
    of SIGQUIT: Celery's own would raise in the middle of a job, as if the job had failed.
    """

    def on_ready(**_: object) -> None:
        stop = signal.getsignal(signal.SIGTERM)
        assert callable(stop)

        def hurry(signum: int, frame: FrameType | None) -> None:
            hurrying()
            stop(signum, frame)

        signal.signal(signal.SIGQUIT, hurry)
        signal.signal(signal.SIGINT, stop)
        ready()

    def on_stopping(**_: object) -> None:
        stopping()

    def leave_logging(**_: object) -> None:
        """Keep Celery from setting levels and handlers of its own: whoever connects here has set up the log."""

    setup_logging.connect(leave_logging)
    worker_ready.connect(on_ready)
    worker_shutting_down.connect(on_stopping)
    worker = app.Worker(
        hostname=name,
        pool="solo",
        concurrency=1,
        queues=list(chain.from_iterable(map(queue_names, queues))),
        loglevel="WARNING",
        quiet=True,
        without_gossip=True,
        without_mingle=True,
        without_heartbeat=True,
    )
    worker.start()
    return worker.exitcode or 0
