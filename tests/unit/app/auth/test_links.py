"""Signed addresses: each moment has one spelling, and a key is changed without breaking what was handed out."""

import time
from urllib.parse import parse_qs, urlsplit

import pytest

from app.auth.signed_urls import Links
from tests.support.gateway import Gateway

OLD, NEW = b"o" * 32, b"n" * 32


def signed(links: Links) -> tuple[str, str]:
    address, expires = links.image("job", 0)
    assert expires is not None
    query = parse_qs(urlsplit(address).query)
    return query["expires"][0], query["signature"][0]


def test_the_key_before_is_good_until_its_addresses_expire() -> None:
    expires, signature = signed(Links(key=OLD))
    assert Links(key=NEW, previous=OLD).admits("job", 0, expires, signature)
    assert not Links(key=NEW).admits("job", 0, expires, signature)
    assert Links(key=OLD).admits("job", 0, *signed(Links(key=OLD, previous=NEW))), "new addresses are of the new key"
    late, signature = signed(Links(key=OLD, lifetime=-10))
    assert float(late) < time.time()
    assert not Links(key=NEW, previous=OLD).admits("job", 0, late, signature)


@pytest.mark.parametrize("spelling", ["+{}", "%2B{}", " {}", "{} ", "0{}", "{}.0", "{}e0", "1_0", "-1", "", "٣"])
def test_a_moment_has_one_spelling(gateway: Gateway, spelling: str) -> None:
    query = f"expires={spelling.format(int(time.time()) + 60)}&signature=x"
    assert gateway.client.get(f"/jobs/some/images/0?{query}").status_code == 422
