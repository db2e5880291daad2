"""Webhooks from the final state to the receiver: signed, tried again, logged, sent again on request."""

import asyncio
import ssl
import threading
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from standardwebhooks import Webhook, WebhookVerificationError

from app.auth.api_key import create_api_key
from app.auth.key_store import KeyStore
from app.urls import origin_of
from app.webhooks.errors import NotDelivered, NotTried
from app.webhooks.lookup import PER_OWNER, Lookup
from app.webhooks.silent_hosts import SilentHosts
from app.webhooks.transport import WebhookTransport
from app.webhooks.url_policy import UrlPolicy
from deploy.embedded.redis import RedisProcess
from tests.integration.conftest import new_job
from tests.support.gateway import Gateway
from tests.support.pictures import encoded, picture
from tests.support.service import PATIENCE, until
from tests.unit.app.webhooks.trap import Trap, receiver, told
from workers.contract.jobs.models import Failure
from workers.contract.jobs.outbox import Attempt, Outbox
from workers.contract.jobs.store import JobStore
from workers.contract.runtime.redis import connect

FIRST_PAUSE = "0.1"


@pytest.fixture(scope="module")
def redis_child(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisProcess]:
    with RedisProcess(tmp_path_factory.mktemp("redis")) as child:
        yield child


@pytest.fixture
def origins() -> Iterator[dict[str, Any]]:
    """Receivers by what they do."""
    with (
        receiver() as taking,
        receiver((500, 503, 204)) as recovering,
        receiver((410,)) as gone,
        receiver((302,), {"Location": "http://127.0.0.1:1/"}) as redirecting,
        receiver(body=b"x" * 1_000_000) as talking,
    ):
        yield {
            "taking": taking,
            "recovering": recovering,
            "gone": gone,
            "redirecting": redirecting,
            "talking": talking,
        }


@pytest.fixture
def calling(tmp_path: Path, redis_child: RedisProcess, origins: dict[str, Any]) -> Iterator[Gateway]:
    """A gateway whose operator allows the receivers, and one address where nobody listens."""
    allowed = ",".join([*(origin for origin, _ in origins.values()), "http://127.0.0.1:1"])
    environ = {"STYLIZE_GATEWAY_WEBHOOK_ALLOW": allowed, "STYLIZE_GATEWAY_WEBHOOK_PAUSE_SECONDS": FIRST_PAUSE}
    with Gateway(tmp_path, redis_child, environ) as running:
        yield running


def deliveries(gateway: Gateway, job: dict[str, Any]) -> list[dict[str, Any]]:
    answer = gateway.client.get(f"{job['links']['self']}/deliveries")
    assert answer.status_code == 200, answer.text
    return list(answer.json()["deliveries"])


def delivered(gateway: Gateway, job: dict[str, Any], count: int = 1) -> list[dict[str, Any]]:
    """Return the log once it has so many attempts."""
    deadline = time.monotonic() + PATIENCE
    while len(found := deliveries(gateway, job)) < count:
        assert time.monotonic() < deadline, found
        time.sleep(0.05)
    return found


def test_a_final_job_is_told_signed(calling: Gateway, origins: dict[str, Any]) -> None:
    origin, got = origins["taking"]
    job = calling.accepted({"webhook_url": f"{origin}/hook?a=b"})
    assert deliveries(calling, job) == []
    calling.finish(job["id"], encoded(picture()))
    (attempt,) = delivered(calling, job)
    assert (attempt["outcome"], attempt["status"], attempt["next_at"]) == ("delivered", 204, None)
    ((headers, body),) = got
    secret = calling.client.get("/webhooks/secret").json()["secret"]
    message = Webhook(secret).verify(body, headers)
    assert headers["webhook-id"] == job["id"]
    assert (message["type"], message["data"]["id"]) == ("job.succeeded", job["id"])
    assert message["data"] == calling.client.get(job["links"]["self"]).json()
    with pytest.raises(WebhookVerificationError):
        Webhook(secret).verify(body + b" ", headers)
    time.sleep(0.6)
    assert len(got) == 1, "what was taken is not sent again"
    assert calling.client.post(f"{job['links']['self']}/deliveries").status_code == 202
    delivered(calling, job, 2)
    assert [headers["webhook-id"] for headers, _ in got] == [job["id"]] * 2


def test_failed_and_canceled_jobs_are_told_too(calling: Gateway, origins: dict[str, Any]) -> None:
    origin, got = origins["taking"]
    jobs = [calling.accepted({"webhook_url": origin}) for _ in range(2)]
    calling.store.fail(calling.claimed(jobs[0]["id"]), Failure(code="internal", detail="it broke"), retry=False)
    delivered(calling, jobs[0])
    calling.client.delete(jobs[1]["links"]["self"])
    delivered(calling, jobs[1])
    assert [message["type"] for message in told(got)] == ["job.failed", "job.canceled"]


def test_it_is_tried_again_until_taken(calling: Gateway, origins: dict[str, Any]) -> None:
    origin, got = origins["recovering"]
    job = calling.accepted({"webhook_url": origin})
    calling.client.delete(job["links"]["self"])
    attempts = delivered(calling, job, 3)
    assert [attempt["status"] for attempt in attempts] == [500, 503, 204]
    assert len({headers["webhook-id"] for headers, _ in got}) == 1
    pauses = [
        datetime.fromisoformat(attempt["next_at"]) - datetime.fromisoformat(attempt["at"]) for attempt in attempts[:2]
    ]
    assert timedelta(seconds=0.08) < pauses[0] < timedelta(seconds=0.12)
    assert timedelta(seconds=0.32) < pauses[1] < timedelta(seconds=0.48)


@pytest.mark.parametrize(
    ("kind", "outcome", "status", "detail", "again"),
    [
        ("gone", "gone", 410, "no more calls", False),
        ("redirecting", "failed", 302, "not followed", True),
        ("talking", "delivered", 204, "", False),
    ],
)
def test_what_the_receiver_answers_counts(
    calling: Gateway, origins: dict[str, Any], kind: str, outcome: str, status: int, detail: str, again: bool
) -> None:
    job = calling.accepted({"webhook_url": origins[kind][0]})
    calling.client.delete(job["links"]["self"])
    attempt = delivered(calling, job)[0]
    assert (attempt["outcome"], attempt["status"], attempt["next_at"] is not None) == (outcome, status, again)
    assert detail in attempt["detail"]
    counted = f'stylize_webhook_deliveries_total{{outcome="{outcome}"}}'
    until(lambda: counted in calling.client.get("/metrics").text, "it is counted")


def test_nobody_there_is_tried_again(calling: Gateway) -> None:
    job = calling.accepted({"webhook_url": "http://127.0.0.1:1/hook"})
    calling.client.delete(job["links"]["self"])
    attempts = delivered(calling, job, 2)
    assert {(attempt["outcome"], attempt["status"], attempt["detail"]) for attempt in attempts} == {
        ("failed", None, "no connection")
    }


def test_there_is_nothing_to_send_again_before_the_end_or_without_a_webhook(calling: Gateway) -> None:
    plain = calling.accepted()
    answer = calling.client.post(f"{plain['links']['self']}/deliveries")
    assert (answer.status_code, answer.json()["detail"]) == (404, "the job has no webhook")
    job = calling.accepted({"webhook_url": "https://example.com/"})
    answer = calling.client.post(f"{job['links']['self']}/deliveries")
    assert (answer.status_code, answer.json()["type"]) == (409, "urn:stylize:problem:not-finished")
    assert calling.client.get("/jobs/unknown/deliveries").status_code == 404


def test_another_webhook_is_another_request(calling: Gateway, origins: dict[str, Any]) -> None:
    key = {"Idempotency-Key": "with-a-webhook"}
    calling.accepted({"webhook_url": "https://example.com/a"}, **key)
    assert calling.post({"webhook_url": "https://example.com/b"}, **key).status_code == 409


def test_every_owner_has_a_secret_that_stays(redis_child: RedisProcess) -> None:
    with connect(redis_child.url) as redis:
        outbox = Outbox(redis, prefix="secrets:")
        secrets = {owner: outbox.secret(owner) for owner in ("ann", "bob", "anyone")}
        assert len(set(secrets.values())) == 3
        assert {owner: Outbox(redis, prefix="secrets:").secret(owner) for owner in secrets} == secrets


def test_the_secret_is_for_who_makes_jobs(tmp_path: Path) -> None:
    with RedisProcess(tmp_path / "redis") as child, connect(child.url) as redis:
        tokens = {}
        for scopes in (("read",), ("read", "write")):
            key, tokens[scopes] = create_api_key("test", scopes=scopes)  # type: ignore[arg-type]
            KeyStore(redis).put(key)
        with Gateway(tmp_path, child) as gateway:
            statuses = [
                gateway.client.get("/webhooks/secret", headers={"Authorization": f"Bearer {token}"}).status_code
                for token in tokens.values()
            ]
    assert statuses == [403, 200]


def test_a_call_is_lent_to_one_gateway_and_comes_back(redis_child: RedisProcess) -> None:
    with connect(redis_child.url) as redis:
        store, outbox = JobStore(redis, prefix="lent:", retention_seconds=0.001), Outbox(redis, prefix="lent:")
        new = new_job(webhook_url="https://example.com/")
        store.submit(new)
        assert outbox.due(10, 2, 10) == []
        store.cancel(new.id)
        assert outbox.due(10, 5, 10) == [(new.id, "ann", 0)]
        assert outbox.due(10, 2, 10) == []
        until(lambda: outbox.due(10, 600, 10) == [(new.id, "ann", 0)], "it comes back")
        attempt = Attempt(at=datetime.now(UTC), outcome="failed", seconds=0.1)
        for _ in range(60):
            outbox.note(new.id, attempt, 0)
        assert outbox.due(10, 600, 10) == [(new.id, "ann", 60)]
        assert len(outbox.log(new.id)) == 50
        outbox.note(new.id, attempt, None)
        assert outbox.due(10, 60, 10) == []
        assert outbox.replay(new.id) == "due"
        assert outbox.due(10, 60, 10) == [(new.id, "ann", 0)]
        store.sweep()
        assert (outbox.replay(new.id), outbox.log(new.id)) == ("none", [])
        outbox.note(new.id, attempt, 0)
        assert (outbox.due(10, 60, 10), outbox.log(new.id)) == ([], [])


def certificate(folder: Path) -> tuple[Path, ssl.SSLContext]:
    """Make a certificate for hooks.example; return its file and who trusts it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "hooks.example")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("hooks.example")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = made.public_bytes(serialization.Encoding.PEM)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    file = folder / "hooks.pem"
    file.write_bytes(private + pem)
    return file, ssl.create_default_context(cadata=pem.decode())


def test_tls_goes_by_the_name_and_the_connection_by_the_address(tmp_path: Path) -> None:
    file, trusting = certificate(tmp_path)
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    serving.load_cert_chain(file)
    asked: list[str] = []

    async def find(host: str, port: int, owner: str) -> Sequence[str]:
        asked.append(host)
        return ["127.0.0.1"]

    with receiver(tls=serving) as (origin, got):
        port = origin.rpartition(":")[2]
        good, bad = f"https://hooks.example:{port}", f"https://other.example:{port}"
        rules = UrlPolicy(allowed=frozenset({origin_of(good), origin_of(bad)}))
        assert (
            asyncio.run(WebhookTransport(rules, tls=trusting, find=find).post(f"{good}/hook", {}, b"{}", "ann")) == 204
        )
        with pytest.raises(NotDelivered):
            asyncio.run(WebhookTransport(rules, tls=trusting, find=find).post(f"{bad}/hook", {}, b"{}", "ann"))
        public = ssl.create_default_context()
        with pytest.raises(NotDelivered):
            asyncio.run(WebhookTransport(rules, tls=public, find=find).post(f"{good}/hook", {}, b"{}", "ann"))
    assert [headers["host"] for headers, _ in got] == [f"hooks.example:{port}"]
    assert asked == ["hooks.example", "other.example", "hooks.example"]


async def known(host: str, port: int, owner: str) -> Sequence[str]:
    return ["127.0.0.1"]


def test_a_receiver_that_says_nothing_is_left_in_time(tmp_path: Path) -> None:
    with Trap(silent=True) as silent:
        origin = f"http://127.0.0.1:{silent.port}"
        sender = WebhookTransport(
            UrlPolicy(allowed=frozenset({origin})), tls=ssl.create_default_context(), find=known, seconds=0.3
        )
        with pytest.raises(NotDelivered, match="no answer"):
            asyncio.run(sender.post(origin, {}, b"{}", "ann"))


def test_an_owner_gets_its_share_of_the_calls(redis_child: RedisProcess) -> None:
    with connect(redis_child.url) as redis:
        store, outbox = JobStore(redis, prefix="share:"), Outbox(redis, prefix="share:")
        for owner, count in (("ann", 40), ("bob", 1)):
            for _ in range(count):
                new = new_job(owner=owner, webhook_url="https://example.com/")
                store.submit(new)
                store.cancel(new.id)
        owners = [due.owner for due in outbox.due(64, 60, 16, {"ann": 10})]
    assert sorted(owners) == ["ann"] * 6 + ["bob"]


def test_a_name_server_that_says_nothing_holds_up_only_its_owner() -> None:
    """Look-ups that hang, 60 of one owner's hosts: what cannot be looked up for want of room is no failure."""
    ended = threading.Event()

    def answer(host: str, port: int, **_: object) -> list[object]:
        if host.startswith("slow"):
            ended.wait(60)
        return [(0, 0, 0, "", ("192.0.2.1", port))]

    async def look_up() -> tuple[list[object], Sequence[str]]:
        lookup = Lookup(answer, seconds=3)
        slow = asyncio.gather(*(lookup.find(f"slow{n}.example", 443, "ann") for n in range(60)), return_exceptions=True)
        faults = await slow
        try:
            return list(faults), await lookup.find("good.example", 443, "bob")
        finally:
            ended.set()

    faults, addresses = asyncio.run(look_up())
    assert addresses == ["192.0.2.1"]
    assert [type(fault) for fault in faults].count(NotDelivered) == PER_OWNER
    assert [type(fault) for fault in faults].count(NotTried) == 60 - PER_OWNER


def test_a_silent_host_is_left_alone_for_a_while() -> None:
    hosts = SilentHosts()
    hosts.note_silence("https://slow.example/a")
    assert hosts.is_resting("https://SLOW.example/b")
    assert not hosts.is_resting("https://other.example/")
    hosts.note_answer("https://slow.example/")
    assert not hosts.is_resting("https://slow.example/a")
