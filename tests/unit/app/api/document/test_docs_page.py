"""Where there are API keys, the documentation needs one; a browser asks for it as a password."""

import base64
from collections.abc import Iterator

import pytest

from app.api.docs_page import password_of
from app.auth.api_key import create_api_key
from app.auth.key_store import KeyStore
from deploy.embedded.redis import RedisProcess
from tests.support.gateway import Gateway
from workers.contract.runtime.redis import connect

PAGES = ["/docs", "/openapi.json"]


@pytest.fixture(scope="module")
def keyed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Gateway, str]]:
    folder = tmp_path_factory.mktemp("documented")
    with RedisProcess(folder / "redis") as redis, Gateway(folder, redis) as gateway:
        made = create_api_key("reader", scopes=("read",))
        with connect(redis.url) as client:
            KeyStore(client).put(made.key)
        yield gateway, str(made.token)


def basic(text: str) -> dict[str, str]:
    return {"Authorization": f"Basic {base64.b64encode(text.encode()).decode()}"}


@pytest.mark.parametrize("path", PAGES)
def test_who_has_no_key_is_asked_for_one(keyed: tuple[Gateway, str], path: str) -> None:
    gateway, _ = keyed
    for headers in ({}, basic("any:wrong"), basic("no colon"), {"Authorization": "Basic ="}):
        answer = gateway.client.get(path, headers=headers)
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"].startswith("Basic ")


@pytest.mark.parametrize("path", PAGES)
def test_a_key_opens_it_as_a_token_or_as_a_password(keyed: tuple[Gateway, str], path: str) -> None:
    gateway, token = keyed
    for headers in ({"Authorization": f"Bearer {token}"}, basic(f":{token}"), basic(f"anybody:{token}")):
        assert gateway.client.get(path, headers=headers).status_code == 200


def test_a_password_opens_nothing_else(keyed: tuple[Gateway, str]) -> None:
    gateway, token = keyed
    for path in ("/jobs", "/methods", "/webhooks/secret"):
        answer = gateway.client.get(path, headers=basic(f":{token}"))
        assert (answer.status_code, answer.headers["www-authenticate"][:6]) == (401, "Bearer")


def test_a_password_that_is_no_ascii_is_none() -> None:
    assert password_of(basic("a:é")["Authorization"]) == ""
    assert password_of("Basic \N{SNOWMAN}") == ""
