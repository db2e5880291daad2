"""The one task: a doorbell. Which job runs is the store's decision; the id is a hint, so any number of rings is harmless."""

import logging
from collections.abc import Callable

from celery import Celery

WAKE = "stylize.wake"
log = logging.getLogger(__name__)


def register(app: Celery, drain: Callable[[], int]) -> None:
    """Register `wake` on the app; each ring calls `drain`."""

    @app.task(name=WAKE, ignore_result=True, typing=False)
    def wake(*hint: object, **_: object) -> None:
        log.debug("woken for %.64r", hint)
        drain()
