"""`python -m tests.integration.jobs.record_release`: records of this release for the next one's tests.

One job in each state, a style, a comparison, a key, a worker, a webhook that was tried: as `records/VERSION.json`.
"""

import argparse
import json
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from redis import Redis

from app.auth.api_key import create_api_key
from app.auth.key_store import KeyStore
from app.observability.metrics import own_version
from deploy.embedded.redis import RedisProcess
from tests.integration.conftest import new_job
from workers.contract.jobs.comparisons import Cell, Comparison
from workers.contract.jobs.models import Failure, Image, Progress, Result, Timings
from workers.contract.jobs.outbox import Attempt, Outbox
from workers.contract.jobs.results import WorkerStatus
from workers.contract.jobs.store import JobStore
from workers.contract.runtime.redis import connect
from workers.contract.styles.store import Style, StyleReference, StyleStore

FOLDER = Path(__file__).parent / "records"
PICTURE = "a" * 64
STATES = ("succeeded", "failed", "canceled", "running", "canceling", "queued")
GROUP, STYLE = "kept-group", "kept-style"


def write(redis: Redis) -> None:
    """Write one of each."""
    store, now = JobStore(redis, lease_seconds=3600), datetime.now(UTC)
    for state in STATES:
        store.submit(new_job(f"kept-{state}", styles=(PICTURE,), webhook_url="https://example.com/"))
        if state not in ("queued", "canceled"):
            claim = store.claim("sd15", "kept-worker")
            assert claim is not None
            store.beat(claim, Progress(stage="denoise", step=1, steps=2, fraction=0.5))
        if state == "succeeded":
            image = Image(blob="x", width=64, height=64, content_type="image/png", sha256=PICTURE, seed=1)
            assert store.commit(claim, Result(images=(image,), timings=Timings(denoise=1.0), gpu_seconds=1.0))
        elif state == "failed":
            assert store.fail(claim, Failure(code="refused", detail="it cannot be done"), retry=False)
        elif state in ("canceled", "canceling"):
            store.cancel(f"kept-{state}")
    cells = [new_job(f"kept-cell-{n}") for n in range(2)]
    named = tuple(Cell(job_id=job.id, label=job.id, method="signal-leak", seed=1, strength=0.5) for job in cells)
    store.submit_comparison(Comparison(id=GROUP, owner="ann", digest="0" * 64, cells=named, created_at=now), cells)
    reference = StyleReference(sha256=PICTURE, weight=1.0)
    StyleStore(redis).save(
        Style(id=STYLE, owner="ann", name="ink", references=(reference,), versions={"style-id": 1}, created_at=now), 10
    )
    KeyStore(redis).put(create_api_key("kept").key)
    store.announce(WorkerStatus(id="kept-worker", queues=("sd15",), models=("sd15",), state="busy"), 3600)
    Outbox(redis).note("kept-succeeded", Attempt(at=now, outcome="failed", seconds=0.1, next_at=now), 3600)


def dump(redis: Redis) -> dict[str, Any]:
    """Return all keys with their kinds and values."""
    read: dict[str, Any] = {
        "string": redis.get,
        "hash": redis.hgetall,
        "list": lambda name: redis.lrange(name, 0, -1),
        "set": lambda name: sorted(redis.smembers(name)),  # type: ignore[arg-type]
        "zset": lambda name: redis.zrange(name, 0, -1, withscores=True),
    }
    kinds = {name: str(redis.type(name)) for name in sorted(redis.scan_iter())}
    return {name: {"kind": kind, "value": read[kind](name)} for name, kind in kinds.items()}


def load(redis: Redis, kept: dict[str, Any]) -> None:
    """Write what `dump` returned."""
    for name, one in kept.items():
        value = one["value"]
        match one["kind"]:
            case "string":
                redis.set(name, value)
            case "hash":
                redis.hset(name, mapping=value)
            case "list":
                redis.rpush(name, *value)
            case "set":
                redis.sadd(name, *value)
            case "zset":
                redis.zadd(name, {member: float(score) for member, score in value})


def main() -> None:
    argparse.ArgumentParser(prog="python -m tests.integration.jobs.record_release", description=__doc__).parse_args()
    with tempfile.TemporaryDirectory() as folder, RedisProcess(Path(folder)) as child, connect(child.url) as redis:
        write(redis)
        kept = json.dumps(dump(redis), indent=1)
    FOLDER.mkdir(exist_ok=True)
    (FOLDER / f"{own_version()}.json").write_text(kept + "\n")


if __name__ == "__main__":
    main()
