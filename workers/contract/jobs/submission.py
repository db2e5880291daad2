"""The verbs of the job store by which jobs come in."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from workers.contract.errors import QueueFull, StoreUnavailable
from workers.contract.jobs.admission import NOTHING_PUT, Admission, PutInputs, raise_refusal
from workers.contract.jobs.comparisons import Comparison
from workers.contract.jobs.estimate import Snapshot, estimates
from workers.contract.jobs.models import Job
from workers.contract.jobs.record import accepted, job_of, pairs, submission_fields
from workers.contract.jobs.results import QueueEstimate, Submission
from workers.contract.jobs.stored import read_known
from workers.contract.runtime.redis import is_out_of_memory


class SubmissionVerbs(ABC):
    """Part of `JobStore`, which has the numbers and runs the scripts."""

    _max_queued: int
    _lease: int
    _keep: int

    def admit(self, owner: str, key: str | None, *, jobs: int = 1, max_active: int | None = None) -> Admission:
        """Tell whether an owner may ask for some more jobs, before anything is done for them; `submit` decides.

        Raises QueueFull, TooManyActive, StoreUnavailable; not where a job has the idempotency key already.
        """
        verdict, *rest = self._run("admit", owner, key or "", jobs, self._max_queued, max_active or "")
        raise_refusal(verdict, rest, self._max_queued)
        return Admission(int(rest[0]), rest[1] or None)

    def submit(self, job: Job, put: PutInputs = NOTHING_PUT, *, max_active: int | None = None) -> Submission:
        """Accept a job; when this returns it is on disk. `max_active` bounds its owner's unfinished jobs.

        The same idempotency key and digest return the first job.

        Raises IdempotencyConflict (same key, other digest), QueueFull, TooManyActive, StorageQuota, InputsDeleted,
        StoreUnavailable.
        """
        verdict, *rest = self._submit([job], put, max_active, single="single")
        if verdict == "accepted":
            return Submission(accepted(job, int(rest[0])), created=True, estimate=self._first_estimate(job.id, rest[1]))
        return Submission(job_of(pairs(rest[0])), created=verdict == "created")

    def _first_estimate(self, job_id: str, taken: str) -> QueueEstimate | None:
        snapshot = Snapshot.model_validate_json(taken)
        (estimate,) = estimates(snapshot)
        if estimate and estimate.finish_seconds is not None:
            with suppress(StoreUnavailable):  # the job is accepted: only how good estimates are is told without it
                self._run("note_estimate", job_id, round(snapshot.now + estimate.finish_seconds * 1000))
        return estimate

    def submit_all(self, jobs: Sequence[Job], *, max_active: int | None = None) -> list[str]:
        """Accept jobs of one owner, or none of them. Raises as `submit`.

        Returns their ids: another than its own for each whose idempotency key was there.
        """
        return list(self._submit(jobs, NOTHING_PUT, max_active)[2]) if jobs else []

    def submit_comparison(
        self,
        comparison: Comparison,
        jobs: Sequence[Job],
        put: PutInputs = NOTHING_PUT,
        *,
        max_active: int | None = None,
    ) -> Comparison:
        """Accept all the jobs of a comparison and keep it for the retention, or none of it. Raises as `submit`.

        Returns the comparison, or what is there under its id already.
        """
        verdict, *rest = self._submit(jobs, put, max_active, comparison=comparison)
        return read_known(Comparison, rest[0]) if verdict == "group" else comparison

    def _submit(
        self,
        jobs: Sequence[Job],
        put: PutInputs,
        max_active: int | None,
        *,
        single: str = "",
        comparison: Comparison | None = None,
    ) -> list[Any]:
        kept = (comparison.id, comparison.model_dump_json(), self._keep) if comparison else ("", "", "")
        fields = [field for job in jobs for field in submission_fields(job)]
        most = (self._max_queued, self._lease, max_active or "")
        try:
            answer: list[Any] = self._run("submit", *most, *put.arguments(), single, *kept, *fields)
        except StoreUnavailable as fault:
            if is_out_of_memory(fault.__cause__):
                raise QueueFull("the job database is full", retry_after=60) from fault
            raise
        raise_refusal(answer[0], answer[1:], self._max_queued)
        return answer

    @abstractmethod
    def _run(self, name: str, *args: str | int) -> Any:
        """Run a script and return its answer. Raises StoreUnavailable."""
