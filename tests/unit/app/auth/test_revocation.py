"""A key that ends: its streams and waits end with it, its jobs can be stopped, and an operator reaches everybody's."""

import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx2
import pytest
from typer.testing import CliRunner, Result

from app.auth.api_key import ApiKey, create_api_key
from app.auth.key_store import KeyStore
from app.auth.keyring import ANYONE
from app.cli.main import app
from deploy.embedded.folder_lock import FolderLock, Holder
from deploy.embedded.redis import RedisProcess
from tests.integration.conftest import PRECOMPUTE, new_job
from tests.support.gateway import Gateway
from tests.support.pictures import encoded, picture
from tests.support.service import PATIENCE, free_port
from workers.contract.errors import OwnerRevoked
from workers.contract.jobs.models import State
from workers.contract.jobs.operator import CanceledCounts, Operator
from workers.contract.jobs.outbox import Outbox
from workers.contract.jobs.store import JobStore
from workers.contract.runtime.redis import connect

PNG = ("style.png", encoded(picture()), "image/png")


@pytest.fixture(scope="module")
def keyed(tmp_path_factory: pytest.TempPathFactory, server: RedisProcess, keys: KeyStore) -> Iterator[Gateway]:
    """A gateway with keys, whose streams would be quiet for a minute."""
    keys.put(create_api_key("the first key closes the door").key)
    environ = {"STYLIZE_GATEWAY_HEARTBEAT_SECONDS": "60"}
    with Gateway(tmp_path_factory.mktemp("gateway"), server, environ) as running:
        yield running


@pytest.fixture
def ann(keys: KeyStore) -> tuple[ApiKey, dict[str, str]]:
    """A key, and the header that brings it."""
    key, token = create_api_key("ann")
    keys.put(key)
    return key, {"Authorization": f"Bearer {token}"}


def revoke(keys: KeyStore, key: ApiKey) -> None:
    keys.revoke(key.id)


def expire(keys: KeyStore, key: ApiKey) -> None:
    keys.put(key.model_copy(update={"expires_at": datetime.now(UTC) + timedelta(seconds=1)}))


def narrow(keys: KeyStore, key: ApiKey) -> None:
    keys.put(key.model_copy(update={"scopes": ()}))


each_end = pytest.mark.parametrize("end", [revoke, expire, narrow])
End = Callable[[KeyStore, ApiKey], None]


@each_end
@pytest.mark.parametrize("state", ["queued", "running"])
def test_a_stream_ends_with_its_key(
    keyed: Gateway, keys: KeyStore, ann: tuple[ApiKey, dict[str, str]], end: End, state: str
) -> None:
    key, headers = ann
    job = keyed.accepted(**headers)
    if state == "running":
        keyed.claimed(job["id"])
    with keyed.client.stream("GET", job["links"]["events"], headers=headers, timeout=PATIENCE) as answer:
        lines = answer.iter_lines()
        assert next(lines)
        end(keys, key)
        list(lines)  # ends, though the job does not; within 10 s, which a busy machine may not keep
    assert not keyed.store.get(job["id"]).state.final  # type: ignore[union-attr]


@each_end
def test_a_wait_ends_with_its_key(keyed: Gateway, keys: KeyStore, ann: tuple[ApiKey, dict[str, str]], end: End) -> None:
    key, headers = ann
    answers: list[httpx2.Response] = []
    asked = {"prompt": "a house", "model": "signal-leak", "size": "64x64"}
    waits: list[Callable[[], httpx2.Response]] = [
        lambda: keyed.post(Prefer="wait=60", **headers),
        lambda: keyed.client.post("/v1/images/edits", data=asked, files={"image": PNG}, headers=headers),
    ]
    threads = [threading.Thread(target=lambda wait=wait: answers.append(wait())) for wait in waits]
    for thread in threads:
        thread.start()
    operator = Operator(keyed.store._redis)
    deadline = time.monotonic() + PATIENCE
    while len(list(operator.jobs(key.id))) < len(waits):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    end(keys, key)
    for thread in threads:
        thread.join()
    assert {answer.status_code for answer in answers} == ({403} if end is narrow else {401})
    assert {job.state for job in operator.jobs(key.id)} == {State.QUEUED}


def test_who_came_without_a_key_is_gone_once_there_is_one(tmp_path: Path) -> None:
    with (
        RedisProcess(tmp_path / "redis") as child,
        connect(child.url) as redis,
        Gateway(tmp_path, child) as open_to_all,
    ):
        job = open_to_all.accepted()
        with open_to_all.client.stream("GET", job["links"]["events"], timeout=PATIENCE) as answer:
            lines = answer.iter_lines()
            assert next(lines)
            KeyStore(redis).put(create_api_key("ann").key)
            list(lines)
        assert open_to_all.client.get(job["links"]["self"]).status_code == 401


def test_a_stream_ends_when_nobody_can_read_the_keys(tmp_path: Path) -> None:
    with RedisProcess(tmp_path / "redis") as child, connect(child.url) as redis:
        key, token = create_api_key("ann")
        KeyStore(redis).put(key)
        with Gateway(tmp_path, child) as gateway:
            headers = {"Authorization": f"Bearer {token}"}
            job = gateway.accepted(**headers)
            gateway.claimed(job["id"])
            with gateway.client.stream("GET", job["links"]["events"], headers=headers, timeout=PATIENCE) as answer:
                lines = answer.iter_lines()
                assert next(lines)
                child.kill()
                list(lines)
            assert "Traceback" not in gateway.log.read_text()


def test_a_revoked_key_is_let_in_by_no_gateway_that_does_not_know_yet(server: RedisProcess) -> None:
    with connect(server.url) as redis:
        keys, store = KeyStore(redis, prefix="late:"), JobStore(redis, prefix="late:")
        key = create_api_key("ann").key
        keys.put(key)
        assert store.submit(new_job(owner=key.id)).created
        keys.revoke(key.id)
        for let_in in (lambda: store.submit(new_job(owner=key.id)), lambda: store.admit(key.id, None)):
            with pytest.raises(OwnerRevoked):
                let_in()
        assert store.submit(new_job(owner="another")).created
        redis.hset("late:keys", "odd", "no JSON")
        assert store.submit(new_job(owner="odd")).created


def test_webhooks_of_a_revoked_key_are_not_called(server: RedisProcess) -> None:
    with connect(server.url) as redis:
        keys, store, outbox = (made(redis, prefix="calls:") for made in (KeyStore, JobStore, Outbox))
        owners = [create_api_key(name).key for name in ("ann", "bob")]
        for key in owners:
            keys.put(key)
            store.submit(new_job(key.id, owner=key.id, webhook_url="https://example.com/"))
            store.cancel(key.id)
        keys.revoke(owners[0].id)
        assert [due.job_id for due in outbox.due(10, 0.0, 10)] == [owners[1].id]
        keys.put(owners[0])
        assert [due.job_id for due in outbox.due(10, 30.0, 10)] == [owners[1].id], "it is dropped for good"


def stylize(server: RedisProcess, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> Result:
    monkeypatch.setenv("STYLIZE_REDIS_URL", server.url)
    done = CliRunner().invoke(app, arguments)
    if isinstance(done.exception, Exception):
        raise done.exception
    return done


def test_revoking_cancels_what_waits_and_runs(
    server: RedisProcess, keys: KeyStore, monkeypatch: pytest.MonkeyPatch, ann: tuple[ApiKey, dict[str, str]]
) -> None:
    key, _ = ann
    with connect(server.url) as redis:
        store = JobStore(redis)
        ids = [store.submit(new_job(owner=key.id, queue="own")).job.id for _ in range(5)]
        other = store.submit(new_job(owner="bob", queue="own")).job.id
        claims = [claim for _ in range(3) if (claim := store.claim("own", "worker")) and claim.job.owner == key.id]
        store.cancel(ids[4])
        done = stylize(server, monkeypatch, "keys", "revoke", key.id, "--cancel-jobs")
        assert done.stdout.strip() == (
            f"{key.id} is revoked; canceled {4 - len(claims)} queued and {len(claims)} running jobs"
        )
        for claim in claims:
            assert store.beat(claim).cancel
            assert store.canceled(claim)
        assert {store.get(job_id).state for job_id in ids} == {State.CANCELED}  # type: ignore[union-attr]
        assert not store.get(other).state.final  # type: ignore[union-attr]
        again = stylize(server, monkeypatch, "keys", "revoke", key.id, "--cancel-jobs")
        assert "canceled 0 queued and 0 running jobs" in again.stdout


def test_a_key_is_revoked_by_its_name_unless_several_have_it(
    server: RedisProcess, keys: KeyStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = create_api_key("carol").key, create_api_key("carol").key
    for key in (first, second):
        keys.put(key)
    refused = stylize(server, monkeypatch, "keys", "revoke", "carol")
    assert refused.exit_code == 1
    assert first.id in refused.stderr
    assert second.id in refused.stderr
    assert stylize(server, monkeypatch, "keys", "revoke", first.id).exit_code == 0
    assert stylize(server, monkeypatch, "keys", "revoke", "carol").stdout.startswith(second.id)
    assert stylize(server, monkeypatch, "keys", "revoke", "nobody").exit_code == 1


def test_an_operator_sees_and_cancels_the_jobs_of_all(
    server: RedisProcess, keys: KeyStore, monkeypatch: pytest.MonkeyPatch, ann: tuple[ApiKey, dict[str, str]]
) -> None:
    key, _ = ann
    with connect(server.url) as redis:
        store = JobStore(redis)
        mine, free = (store.submit(new_job(owner=owner)).job.id for owner in (key.id, ANYONE))
        listed = stylize(server, monkeypatch, "jobs", "list", "--all-owners", "--limit", "10000")
        assert mine in listed.stdout
        assert free in listed.stdout
        assert f"{key.id} ann" in listed.stdout
        shown = json.loads(stylize(server, monkeypatch, "jobs", "list", "--owner", key.id, "--json").stdout)
        assert [(job["id"], job["owner"], job["state"]) for job in shown] == [(mine, key.id, "queued")]
        assert stylize(server, monkeypatch, "jobs", "cancel", "--all-owners", mine).stdout.strip() == f"{mine} canceled"
        assert stylize(server, monkeypatch, "jobs", "cancel", "--all-owners", "none").exit_code == 1
        stopped = stylize(server, monkeypatch, "jobs", "cancel", "--owner", ANYONE, "--json").stdout
        assert json.loads(stopped)["queued"] >= 1
        assert store.get(free).state is State.CANCELED  # type: ignore[union-attr]
        assert stylize(server, monkeypatch, "jobs", "cancel", "--all-owners").exit_code == 2


def test_an_operator_pages_through_many_jobs_and_sees_those_that_prepare_styles(server: RedisProcess) -> None:
    with connect(server.url) as redis:
        store, operator = JobStore(redis, prefix="many:"), Operator(redis, prefix="many:")
        submitted = [store.submit(new_job(owner="ann")).job.id for _ in range(401)]
        style = new_job(owner="ann", request=PRECOMPUTE)
        submitted.append(store.submit(style).job.id)
        assert [job.id for job in operator.jobs()] == submitted[::-1]
        assert operator.cancel_unfinished("bob") == CanceledCounts()
        assert operator.cancel_unfinished("ann") == CanceledCounts(queued=402)
        assert list(operator.jobs(state=State.QUEUED)) == []


def test_an_operator_cancels_what_this_release_cannot_read(server: RedisProcess) -> None:
    with connect(server.url) as redis:
        store, operator = JobStore(redis, prefix="newer:"), Operator(redis, prefix="newer:")
        ids = [store.submit(new_job(owner="ann")).job.id for _ in range(3)]
        redis.hset(f"newer:job:{ids[0]}", "request", '{"kind": "of a later release"}')
        redis.delete(f"newer:job:{ids[1]}")
        assert [job.id for job in operator.jobs()] == [ids[2]]
        assert operator.cancel_unfinished("ann") == CanceledCounts(queued=2)
        assert [operator.cancel(job_id) for job_id in ids] == [State.CANCELED, None, State.CANCELED]


def test_a_key_of_a_later_release_is_revoked_and_loses_nothing(server: RedisProcess) -> None:
    with connect(server.url) as redis:
        keys, key = KeyStore(redis, prefix="newer:"), create_api_key("ann").key
        record = json.loads(key.model_dump_json()) | {"tier": "gold", "scopes": ["read", "paint"]}
        redis.hset("newer:keys", key.id, json.dumps(record))
        redis.hset("newer:keys", "damaged", "no JSON")
        assert keys.revoke(key.id) is not None
        left = json.loads(str(redis.hget("newer:keys", key.id)))
        assert left.pop("revoked_at") is not None
        assert left == {name: value for name, value in record.items() if name != "revoked_at"}
        assert keys.revoke("damaged") is not None
        assert keys.revoke("nobody") is None


def test_the_commands_find_a_stack_in_the_default_folder(
    server: RedisProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "data").mkdir()
    monkeypatch.chdir(tmp_path)
    with FolderLock(tmp_path / "data") as lock:
        lock.write(Holder(pid=os.getpid(), port=free_port(), redis_url=server.url))
        for command in (("keys", "list"), ("jobs", "list", "--all-owners")):
            assert CliRunner().invoke(app, command).exit_code == 0
