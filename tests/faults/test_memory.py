"""The look at memory sees what grows; else a flat line would prove nothing."""

import os
import subprocess
import sys
import tracemalloc

import pytest

from tests.faults.harness.memory import HOUR, Growth, first_child, own
from workers.contract.jobs.models import StylizeRequest

MEGABYTE = 2**20
HOARDER = "import sys; hoard = []\nfor line in sys.stdin: hoard.append(b'x' * 2**20); print(flush=True)"


def test_a_process_that_hoards_is_seen_to_grow() -> None:
    with subprocess.Popen([sys.executable, "-c", HOARDER], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as hoarder:
        assert hoarder.stdin is not None
        assert hoarder.stdout is not None
        assert first_child(os.getpid()) is not None
        hoarder.stdin.write(b"\n")
        hoarder.stdin.flush()
        hoarder.stdout.readline()
        before = own(hoarder.pid)
        hoarder.stdin.write(b"\n" * 8)
        hoarder.stdin.flush()
        for _ in range(8):
            hoarder.stdout.readline()
        assert 8 * MEGABYTE <= own(hoarder.pid) - before < 9 * MEGABYTE


def test_the_slope_is_that_after_the_warm_up() -> None:
    growth = Growth(dict)
    warming = [(float(at), at * MEGABYTE) for at in range(100)]
    settled = [(100 + HOUR * part / 10, round((100 + 3 * part / 10) * MEGABYTE)) for part in range(11)]
    growth.samples["one"] = warming + settled
    assert growth.slope("one", 100) == pytest.approx(0.03)


def test_a_process_that_ends_or_changes_is_told() -> None:
    pids = iter((1, 2))
    with subprocess.Popen([sys.executable, "-c", ""]) as ended:
        growth = Growth(lambda: {"ended": ended.pid, "changed": next(pids), "missing": None})
    growth.sample()
    assert growth.replaced == {"ended", "changed"}


def test_records_that_were_read_leave_nothing_behind() -> None:
    # Pydantic would keep 16,384 short strings of all that it has read: ids, prompts and digests that never come again.
    request = StylizeRequest(method="m", model="m", seed=1, width=64, height=64, steps=1, guidance_scale=1, strength=1)
    texts = [request.model_copy(update={"prompt": f"subject {n}"}).model_dump_json() for n in range(2000)]
    StylizeRequest.model_validate_json(texts[0])
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    for text in texts:
        StylizeRequest.model_validate_json(text)
    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert after - before < 10_000
