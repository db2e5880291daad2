"""API keys: who may do what, whose jobs are whose, and how often."""

import json
import re
import secrets
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from app.auth.anonymous import is_loopback
from app.auth.api_key import DUMMY_KEY, Token, create_api_key, digest_of, verify
from app.auth.key_store import KeyStore
from app.auth.keyring import ANYONE, Caller, KeyRing
from app.auth.rate_limit import RateLimits
from app.errors import RateLimited, Unauthorized, Unavailable
from deploy.embedded.redis import RedisProcess
from tests.support.gateway import Gateway
from tests.support.pictures import encoded, picture
from tests.support.service import PATIENCE, free_port, until
from workers.contract.errors import Misconfigured, StoreUnavailable
from workers.contract.runtime.redis import connect

OPEN = ("/livez", "/readyz", "/metrics")
URL_KEY = "k" * 32


@pytest.fixture(scope="module")
def keyed(tmp_path_factory: pytest.TempPathFactory, server: RedisProcess, keys: KeyStore) -> Iterator[Gateway]:
    """A gateway that needs keys."""
    keys.put(create_api_key("the first key closes the door").key)
    environ = {"STYLIZE_GATEWAY_URL_KEY": URL_KEY}
    with Gateway(tmp_path_factory.mktemp("gateway"), server, environ) as running:
        yield running


def bearer(keys: KeyStore, **limits: Any) -> dict[str, str]:
    """Make a key; return the header that brings it."""
    key, token = create_api_key("test", **limits)
    keys.put(key)
    return {"Authorization": f"Bearer {token}"}


def known(gateway: Gateway, headers: dict[str, str], status: int = 200) -> None:
    """Wait until the gateway treats a key so."""
    until(lambda: gateway.client.get("/methods", headers=headers).status_code == status, f"the key is {status}")


def stylize(*arguments: str, redis: RedisProcess) -> subprocess.CompletedProcess[str]:
    command = (sys.executable, "-W", "error", "-m", "app.cli.main", "keys", *arguments)
    environ = {"PATH": "/usr/bin:/bin", "STYLIZE_REDIS_URL": redis.url}
    return subprocess.run(command, env=environ, capture_output=True, text=True, timeout=PATIENCE, check=False)


def test_a_secret_has_256_bits_and_only_its_digest_is_kept() -> None:
    key, token = create_api_key("ann")
    assert len(secrets.token_urlsafe(32)) == len(token.secret)
    assert token.secret not in key.model_dump_json()
    assert Token.read(str(token)) == token
    assert verify(key, token.secret, datetime.now(UTC))
    assert not verify(key, token.secret + "x", datetime.now(UTC))
    assert not verify(DUMMY_KEY, token.secret, datetime.now(UTC))
    assert key.digest == digest_of(token.secret)


def test_an_expired_or_revoked_key_opens_nothing() -> None:
    now = datetime.now(UTC)
    key, token = create_api_key("ann", expires_at=now + timedelta(seconds=5))
    assert verify(key, token.secret, now)
    assert not verify(key, token.secret, now + timedelta(seconds=5))
    assert not verify(key.model_copy(update={"revoked_at": now}), token.secret, now)


@pytest.mark.parametrize(
    "header", [None, "", "Bearer", "Bearer x", "Bearer stylize_", "Bearer stylize_0000000000000000_", "Basic {}", "{}"]
)
def test_all_refusals_look_the_same(keys: KeyStore, header: str | None) -> None:
    ring = KeyRing(keys, always=True)
    ring.refresh()
    key, token = create_api_key("unknown to the store")
    known_key, known_token = create_api_key("known")
    keys.put(known_key)
    texts = set()
    for text in (header and header.format(token), f"Bearer {token}", f"Bearer {known_token._replace(secret='wrong')}"):
        with pytest.raises(Unauthorized) as refusal:
            ring.caller(text)
        texts.add(str(refusal.value))
    assert len(texts) == 1
    assert key.id not in texts.pop()


def test_without_keys_all_are_one_unless_keys_are_always_needed(server: RedisProcess) -> None:
    with connect(server.url) as redis:
        empty = KeyStore(redis, prefix="empty:")
        assert KeyRing(empty, always=False).caller(None) == Caller(ANYONE)
        with pytest.raises(Unauthorized):
            KeyRing(empty, always=True).caller(None)


def test_keys_that_cannot_be_read_again_open_nothing_for_long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with RedisProcess(tmp_path / "redis") as child, connect(child.url) as redis:
        store = KeyStore(redis)
        key, token = create_api_key("ann")
        store.put(key)
        ring = KeyRing(store, always=True)
        ring.refresh()
        child.kill()
        began = time.monotonic()
        monkeypatch.setattr(time, "monotonic", lambda: began + 5)
        assert ring.due
        ring.refresh()
        assert ring.caller(f"Bearer {token}").owner == key.id
        monkeypatch.setattr(time, "monotonic", lambda: began + 9)
        with pytest.raises(StoreUnavailable):
            ring.refresh()


def test_a_key_from_its_making_to_its_end(keyed: Gateway, server: RedisProcess) -> None:
    made = stylize("create", "ann", "--rate", "60/minute", "--json", redis=server)
    assert made.returncode == 0, made.stderr
    key = json.loads(made.stdout)
    headers = {"Authorization": f"Bearer {key['token']}"}
    known(keyed, headers)
    listed = stylize("list", redis=server)
    assert key["id"] in listed.stdout
    assert "60/minute" in listed.stdout
    assert key["token"] not in listed.stdout + stylize("list", "--json", redis=server).stdout
    assert keyed.accepted(**headers)["state"] == "queued"
    assert stylize("revoke", key["id"], redis=server).returncode == 0
    known(keyed, headers, status=401)
    refused = keyed.post(**headers)
    assert (refused.status_code, refused.headers["www-authenticate"]) == (401, 'Bearer realm="stylize"')
    assert refused.json()["type"] == "urn:stylize:problem:unauthorized"
    assert key["token"] not in keyed.log.read_text()


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (("create", "ann", "--rate", "often"), 2, "rate"),
        (("create", "ann", "--scope", "admin"), 2, "admin"),
        (("create", "x" * 101), 2, "100 characters"),
        (("revoke", "0" * 16), 1, "no key"),
        (("--data-dir", "/nowhere", "list"), 2, "no `stylize up` has run in /nowhere"),
    ],
)
def test_what_cannot_be_done_is_one_line(
    server: RedisProcess, arguments: tuple[str, ...], status: int, words: str
) -> None:
    done = stylize(*arguments, redis=server)
    assert (done.returncode, done.stdout) == (status, "")
    assert words in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def operations(gateway: Gateway, key: dict[str, str]) -> Iterator[tuple[str, str]]:
    """Yield verb and path of all that is documented."""
    for path, verbs in gateway.client.get("/openapi.json", headers=key).json()["paths"].items():
        yield from ((verb.upper(), path) for verb in verbs)


def test_every_route_needs_a_key_but_those_that_watch_the_service(keyed: Gateway, keys: KeyStore) -> None:
    for verb, path in operations(keyed, bearer(keys)):
        status = keyed.client.request(verb, re.sub(r"\{\w+\}", "0", path)).status_code
        assert (status == 401) == (path not in OPEN), (verb, path, status)


def test_another_keys_job_is_404_on_every_route(keyed: Gateway, keys: KeyStore) -> None:
    ann, bob = bearer(keys), bearer(keys)
    known(keyed, bob)
    job = keyed.accepted(**ann)
    keyed.finish(job["id"], encoded(picture()))
    asked = [(verb, path) for verb, path in operations(keyed, ann) if "{job_id}" in path]
    assert len(asked) >= 4
    for verb, path in asked:
        answer = keyed.client.request(verb, path.format(job_id=job["id"], number=0), headers=bob)
        assert answer.status_code == 404, (verb, path, answer.text)
    assert keyed.client.get("/jobs", headers=bob).json()["jobs"] == []
    (own,) = keyed.client.get("/jobs", headers=ann).json()["jobs"]
    (image,) = own["images"]
    assert keyed.client.get(image["url"], headers=bob).status_code == 404
    assert keyed.client.get(image["url"], headers=ann).status_code == 200
    assert keyed.client.get(image["url"]).status_code == 200, "a signed address needs no key"
    assert keyed.client.get(f"/jobs/{job['id']}/images/0").status_code == 401
    assert keyed.client.get(f"/jobs/{job['id']}/images/0", headers=ann).status_code == 404, "unsigned"


def test_an_idempotency_key_is_the_callers_own(keyed: Gateway, keys: KeyStore) -> None:
    ann, bob = bearer(keys), bearer(keys)
    known(keyed, bob)
    jobs = {keyed.accepted(**who, **{"Idempotency-Key": "shared"})["id"] for who in (ann, bob)}
    assert len(jobs) == 2


def test_a_key_does_only_what_its_scopes_say(keyed: Gateway, keys: KeyStore) -> None:
    reads, writes = bearer(keys, scopes=("read",)), bearer(keys, scopes=("write",))
    known(keyed, reads)
    refused = keyed.post(**reads)
    assert (refused.status_code, refused.json()["type"]) == (403, "urn:stylize:problem:forbidden")
    job = keyed.accepted(**writes)
    assert keyed.client.get(job["links"]["self"], headers=writes).status_code == 403
    assert keyed.client.delete(job["links"]["self"], headers=writes).json()["state"] == "canceled"
    assert keyed.client.delete(job["links"]["self"], headers=reads).status_code == 403
    assert keyed.client.delete(job["links"]["self"], headers=writes).status_code == 204, "it was final"


def test_a_key_asks_for_work_no_more_often_than_it_may(keyed: Gateway, keys: KeyStore) -> None:
    slow, other = bearer(keys, rate="2/hour"), bearer(keys, rate="2/hour")
    known(keyed, other)
    answers = [keyed.post(**slow) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [202, 202, 429]
    assert answers[2].json()["type"] == "urn:stylize:problem:rate-limited"
    assert 0 < int(answers[2].headers["retry-after"]) <= 3600
    assert keyed.client.get("/jobs", headers=slow).status_code == 200, "looking is free"
    assert keyed.post(**other).status_code == 202


def test_a_key_has_no_more_jobs_in_flight_than_it_may(keyed: Gateway, keys: KeyStore) -> None:
    ann = bearer(keys, in_flight=2)
    known(keyed, ann)
    first, _ = keyed.accepted(**ann), keyed.accepted(**ann)
    refused = keyed.post(**ann)
    assert (refused.status_code, refused.headers["retry-after"]) == (429, "5")
    assert refused.json()["type"] == "urn:stylize:problem:too-many-in-flight"
    keyed.finish(first["id"], encoded(picture()))
    assert keyed.post(**ann).status_code == 202


def test_rates_are_counted_together_on_a_redis(server: RedisProcess) -> None:
    caller = Caller("ann", rate="2/minute")
    url = f"redis+{server.url}"
    for _ in range(2):
        RateLimits(url).count(caller)
    with pytest.raises(RateLimited):
        RateLimits(url).count(caller)
    with pytest.raises(Unavailable):
        RateLimits("redis://127.0.0.1:1").count(caller)
    RateLimits("redis://127.0.0.1:1").count(Caller("bob"))
    with pytest.raises(Misconfigured):
        RateLimits("nonsense://")


@pytest.mark.parametrize(
    ("host", "loopback"),
    [("127.0.0.1", True), ("127.1.2.3", True), ("::1", True), ("localhost", True), ("192.0.2.1", False), ("::", False)],
)
def test_loopback(host: str, loopback: bool) -> None:
    assert is_loopback(host) == loopback


def test_other_machines_are_served_only_with_keys(tmp_path: Path) -> None:
    environ = {"STYLIZE_GATEWAY_HOST": "0.0.0.0"}  # noqa: S104  the point of the test
    with RedisProcess(tmp_path / "redis") as redis, connect(redis.url) as client:
        base = {"STYLIZE_MODELS": "starter", "STYLIZE_BLOB_URL": f"file:{tmp_path}", "STYLIZE_REDIS_URL": redis.url}
        done = subprocess.run(
            [sys.executable, "-m", "app"],
            env=base | environ | {"STYLIZE_GATEWAY_PORT": str(free_port())},
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        assert done.returncode == 2
        assert "stylize keys create" in done.stderr
        assert "Traceback" not in done.stderr
        with Gateway(tmp_path, redis, environ | {"STYLIZE_GATEWAY_ALLOW_ANONYMOUS": "true"}) as gateway:
            assert gateway.client.get("/methods").status_code == 200
            assert "open to anybody" in gateway.log.read_text()
        ann = bearer(KeyStore(client))
        with Gateway(tmp_path, redis, environ) as gateway:
            assert gateway.client.get("/methods").status_code == 401
            assert gateway.client.get("/methods", headers=ann).status_code == 200
            client.flushall()
            known(gateway, ann, status=401)
            assert gateway.client.get("/methods").status_code == 401, "a lost list of keys does not open the door"


def test_a_key_opens_from_the_moment_it_is_made(keyed: Gateway, keys: KeyStore) -> None:
    for _ in range(10):
        assert keyed.client.get("/methods", headers=bearer(keys)).status_code == 200
