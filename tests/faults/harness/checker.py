"""What must hold after any faults: each accepted job ends once, is published at most once, shows the right picture,
and is told of by one webhook event."""

from collections import Counter, defaultdict
from collections.abc import Iterator
from itertools import pairwise

from tests.faults.harness.fake import expected_sha256
from tests.faults.harness.history import Ask, Evidence, Seen
from workers.contract.blobs.names import attempt_of
from workers.contract.jobs.models import Job, State

RANK = {"queued": 0, "running": 0, "canceling": 1, "succeeded": 2, "failed": 2, "canceled": 2}
"""A lease that ends sends a running job back into the line; nothing else goes backwards."""


def violations(evidence: Evidence) -> list[str]:
    """Return every broken promise, in words; none when all is well."""
    return [
        *_acceptances(evidence),
        *_ends(evidence),
        *_steps_back(evidence),
        *_publications(evidence),
        *_waste(evidence),
        *_calls(evidence),
    ]


def _acceptances(evidence: Evidence) -> Iterator[str]:
    history = evidence.history
    for key, job_ids in history.acknowledged.items():
        if len(job_ids) != 1:
            yield f"{key}: one key, {len(job_ids)} jobs"
    known = {job_id for job_ids in history.acknowledged.values() for job_id in job_ids}
    for job_id in evidence.records.keys() - known:
        yield f"{job_id}: in the store, but nobody asked for it"


def _ends(evidence: Evidence) -> Iterator[str]:
    history = evidence.history
    for key, job_ids in history.acknowledged.items():
        for job_id in job_ids:
            job = evidence.records.get(job_id)
            if job is None:
                yield f"{job_id}: accepted and gone"
            elif job.state is State.CANCELED and job_id in history.canceled:
                if job.result is not None:
                    yield f"{job_id}: canceled, and shows a picture"
            elif job.state is not State.SUCCEEDED:
                yield f"{job_id}: accepted, but {job.state} after {job.attempts} attempts: {job.failure}"
            else:
                yield from _picture(history.asks[key], job, history.seen.get(job_id, []))


def _picture(ask: Ask, job: Job, seen: list[Seen]) -> Iterator[str]:
    assert job.result is not None
    if (job.request.prompt, job.request.seed, job.request.steps) != (ask.prompt, ask.seed, ask.steps):
        yield f"{job.id}: not what was asked for"
    [image] = job.result.images
    if attempt_of(image.blob) != (job.id, job.token):
        yield f"{job.id}: shows {image.blob}, but attempt {job.token} has it"
    made = job.result.control_map
    if made is not None and attempt_of(made.blob) != (job.id, job.token):  # releases before maps publish none
        yield f"{job.id}: shows the map {made.blob}, but attempt {job.token} has it"
    if image.sha256 != expected_sha256(job, image.seed):
        yield f"{job.id}: another picture than without faults"
    if not seen or seen[-1] != Seen("succeeded", (image.sha256,)):
        yield f"{job.id}: the caller saw {seen[-1:]}, the record says {image.sha256}"


def _steps_back(evidence: Evidence) -> Iterator[str]:
    for job_id, states in evidence.history.seen.items():
        for before, after in pairwise(states):
            if RANK[before.state] > RANK[after.state] or RANK[before.state] == 2:
                yield f"{job_id}: {before} became {after}"


def _publications(evidence: Evidence) -> Iterator[str]:
    tokens: dict[str, set[int]] = defaultdict(set)
    for line in evidence.journal:
        if line["event"] == "committed":
            tokens[line["job"]].add(line["token"])
    for job_id, committed in tokens.items():
        if len(committed) > 1:
            yield f"{job_id}: published by attempts {sorted(committed)}"


def _waste(evidence: Evidence) -> Iterator[str]:
    extra = sum(max(0, job.attempts - 1) for job in evidence.records.values())
    faults = len(evidence.history.faults)
    if extra > faults:
        yield f"{extra} attempts too many for {faults} faults"
    claims = Counter(line["job"] for line in evidence.journal if line["event"] == "claimed")
    for job_id, job in evidence.records.items():
        if claims[job_id] > 1 + faults or job.token < claims[job_id]:
            yield f"{job_id}: claimed {claims[job_id]} times with token {job.token}"


def _calls(evidence: Evidence) -> Iterator[str]:
    """A webhook may come twice; its event id is the same, its job final as the record says."""
    if evidence.calls is None:
        return
    events: dict[str, set[str]] = defaultdict(set)
    for call in evidence.calls:
        events[call.job].add(call.event)
        if call.job in evidence.records and call.state != evidence.records[call.job].state:
            yield f"{call.job}: its webhook said {call.state}, the record {evidence.records[call.job].state}"
    for job_id in evidence.records:
        if len(events[job_id]) != 1:
            yield f"{job_id}: {len(events[job_id])} webhook event ids"
