"""One thread draws what the jobs in hand are becoming, so that no step waits for it."""

import logging
from io import BytesIO

from PIL import Image

from workers.contract.errors import StoreUnavailable
from workers.contract.jobs.previews import PreviewStore
from workers.contract.runtime.logs import job_fields
from workers.worker.running_job import RunningJob
from workers.worker.threads.heartbeat import Heartbeat
from workers.worker.threads.periodic import PeriodicThread

log = logging.getLogger(__name__)

MOST_SIDE = 256
QUALITY = 75


class PreviewPublisher(PeriodicThread):
    """Every `period` seconds shows each job in hand that has made a step since."""

    def __init__(self, store: PreviewStore, beat: Heartbeat, *, period: float) -> None:
        super().__init__("previews", period)
        self._store = store
        self._beat = beat

    def run_once(self) -> None:
        """Show each job in hand that has made a step since the last look."""
        for running in self._beat.held:
            self._show(running)

    def _show(self, running: RunningJob) -> None:
        frame, job_id = running.pop_preview(), running.job.id
        if frame is None:
            return
        try:
            picture = frame.draw()
            if picture is not None:
                self._store.show(running.claim, frame.step, jpeg(picture))
        except StoreUnavailable as fault:
            log.warning("no preview of job %s: %s", job_id, fault, extra=job_fields(job_id))
        except Exception:
            log.exception("no preview of job %s", job_id, extra=job_fields(job_id))  # which goes on all the same


def jpeg(picture: Image.Image) -> bytes:
    """Return a picture of at most MOST_SIDE pixels a side as a JPEG file."""
    file = BytesIO()
    picture.thumbnail((MOST_SIDE, MOST_SIDE))
    picture.save(file, "JPEG", quality=QUALITY)
    return file.getvalue()
