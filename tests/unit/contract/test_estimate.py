"""The times of jobs, from snapshots as Lua writes them."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.contract.jobs.estimate import Snapshot, estimates
from workers.contract.jobs.results import QueueEstimate

NOW = 1_700_000_000_000
BATCH, URGENT = "batch sd15", "interactive sd15"


def workload(*durations: str | bool, key: str = "a", **more: Any) -> dict[str, Any]:
    return {"batch_key": key, "fresh": True, "durations": [*durations] or {}, **more}


def asked(position: int, queue: str = URGENT, number: int = 0) -> dict[str, Any]:
    return {"workload": number, "queue": queue, "position": position}


def told(jobs: list[Any], heads: dict[str, tuple[int, list[int]]], **facts: Any) -> list[QueueEstimate | None]:
    """Return the estimates from a snapshot; lists without members are {} in it, as Lua has them."""
    workers = [{"id": "w", "queues": ["sd15"]}]
    queues = {key: {"length": length, "head": head or {}} for key, (length, head) in heads.items()}
    snapshot = {"now": NOW, "jobs": jobs or {}, "queues": queues, "running": {}, "workers": workers, **facts}
    return estimates(Snapshot.model_validate_json(json.dumps(snapshot)))


def test_jobs_further_back_take_as_long_as_those_before_them() -> None:
    found = told(
        [asked(0), asked(2), asked(10)], {URGENT: (11, [0, 0, 0])}, workloads=[workload("1000.0 9000.0 1000.0")]
    )
    assert [(one.position, one.start_seconds, one.finish_seconds) for one in found if one] == [
        (0, 0.0, 1.0),
        (2, 2.0, 3.0),
        (10, 10.0, 11.0),
    ]


def test_what_is_urgent_goes_first() -> None:
    works = [workload("1000"), workload("5000", key="b")]
    (found,) = told([asked(3, BATCH)], {BATCH: (2, [0, 0]), URGENT: (2, [1, 1])}, workloads=works)
    assert found == QueueEstimate(3, 11.0, 12.0)
    (found,) = told([asked(100, BATCH)], {BATCH: (1, [0]), URGENT: (100, [1, 1])}, workloads=works)
    assert found == QueueEstimate(100, 500.0, 501.0)


def test_nothing_is_told_behind_a_job_of_unknown_length() -> None:
    works = [workload("1000"), workload(key="b"), workload(key="c", unit_durations="2000", work_units=0.5)]
    found = told([asked(n, number=n % 3) for n in range(4)], {URGENT: (4, [0, 1, 2])}, workloads=works)
    assert found == [
        QueueEstimate(0, 0.0, 1.0),
        QueueEstimate(1, 1.0, None),
        QueueEstimate(2, None, None),
        QueueEstimate(3, None, None),
    ]
    assert told([asked(0, number=2)], {URGENT: (1, [2])}, workloads=works) == [QueueEstimate(0, 0.0, 1.0)]


@pytest.mark.parametrize(
    ("progress", "seconds"), [('{"fraction": 0.25}', 9.0), ('{"stage": "upscale"}', None), ("{", None), ("3", None)]
)
def test_a_running_job_is_told_by_its_progress_where_it_is_understood(progress: str, seconds: float | None) -> None:
    running = {"workload": 0, "batch_size": 1, "queue": "sd15", "worker": "w", "started": NOW - 3000}
    job = {**running, "progress": progress}
    found = told([{"running": job}, asked(0), False], {URGENT: (1, [0])}, running=[job], workloads=[workload()])
    assert found == [QueueEstimate(None, 0.0, seconds), QueueEstimate(0, seconds, None), None]


@given(
    works=st.lists(st.integers(1, 100_000), min_size=1, max_size=4),
    order=st.lists(st.integers(0, 3), max_size=20),
    workers=st.integers(1, 5),
    behind=st.integers(0, 1000),
)
def test_who_waits_longer_starts_no_earlier(works: list[int], order: list[int], workers: int, behind: int) -> None:
    head = [number % len(works) for number in order]
    jobs = [asked(at, number=number) for at, number in enumerate([*head, 0])] if head else [asked(0)]
    jobs += [asked(len(head) + behind)] if head else []
    found = told(
        jobs,
        {URGENT: (len(jobs), head)},
        workers=[{"id": str(at), "queues": ["sd15"]} for at in range(workers)],
        workloads=[workload(str(length), key=str(at)) for at, length in enumerate(works)],
    )
    starts = [one.start_seconds for one in found if one and one.start_seconds is not None]
    assert len(starts) == len(jobs)
    assert starts == sorted(starts)
    first = min(workers, len(head))
    assert starts[:first] == [0.0] * first
