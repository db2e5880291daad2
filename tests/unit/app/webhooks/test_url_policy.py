"""Two hundred addresses that lead home, and a trap there that nobody may step into."""

import asyncio
import ssl
from collections.abc import Iterator, Sequence
from functools import cache

import pytest

from app.urls import TargetRefused, origin_of
from app.webhooks.errors import NotDelivered
from app.webhooks.lookup import Lookup
from app.webhooks.transport import WebhookTransport
from app.webhooks.url_policy import UrlPolicy
from tests.unit.app.webhooks.trap import Trap

NOT_PUBLIC_V4 = (
    "0.0.0.0",  # noqa: S104
    *("0.1.2.3", "10.0.0.1", "10.255.255.255", "100.64.0.1", "100.127.255.255", "127.0.0.1", "127.0.0.53"),
    *("127.255.255.255", "169.254.0.1", "169.254.169.254", "172.16.0.1", "172.31.255.255", "192.0.0.1", "192.0.0.170"),
    *("192.0.2.1", "192.88.99.1", "192.168.0.1", "192.168.255.255", "198.18.0.1", "198.19.255.255", "198.51.100.1"),
    *("203.0.113.1", "224.0.0.1", "239.255.255.255", "240.0.0.1", "250.1.2.3", "255.255.255.255"),
)
NOT_PUBLIC_V6 = (
    *("::", "::1", "::7f00:1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254", "::ffff:8.8.8.8"),
    *("::ffff:0:127.0.0.1", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "64:ff9b::808:808", "64:ff9b:1::7f00:1"),
    *("100::1", "2001::1", "2001:0:7f00:1::", "2001:2::1", "2001:10::1", "2001:20::1", "2001:db8::1"),
    *("2002:7f00:1::", "2002:a00:1::1", "2002:808:808::1", "3fff::1", "5f00::1", "fc00::1", "fd00::1", "fdff:ffff::1"),
    *("fe80::1", "febf::1", "fec0::1", "ff02::1", "ff0e::1", "1::1", "4000::1", "e000::1"),
)
HIDDEN = (  # the same addresses as somebody might write them to get past a check
    *("0", "127.1", "127.0.1", "2130706433", "017700000001", "0x7f000001", "0x7f.0.0.1", "0177.0.0.1", "127.0.0.01"),
    *(
        "127.0.0.1.",
        "127.0.0.1..",
        "127。0。0。1",
        "①②⑦.0.0.1",
        "１２７.0.0.1",
        "0x7f.1",
        "0x0",
        "00000000",
        "1.1.1.256",
    ),
    *(
        "169.254.43518",
        "2852039166",
        "0xa9fea9fe",
        "0251.0376.0251.0376",
        "127.0.0.1%00",
        "127.0.0.1%2f",
        "%31%32%37.0.0.1",
    ),
    *(
        "[::1%25lo]",
        "[::1%lo]",
        "[0:0:0:0:0:0:0:1]",
        "[::ffff:7f00:1]",
        "[::127.0.0.1]",
        "[v1.x]",
        "[127.0.0.1]",
        "[]",
        "",
    ),
    *("localhost", "LOCALHOST", "localhost.", "localhost.localdomain.", "x.localhost", "metadata.google.internal"),
    *("printer.local", "router.lan", "nas.home", "intranet.corp", "1.0.0.127.in-addr.arpa", "hidden.onion", "redis"),
    *("gateway", "-a.com", "a-.com", "a..com", ".com", "a_b.com", "a b.com", "ex\tample.com", "exa\nmple.com", "é.com"),
    *(
        "xn--.com.",
        "a" * 64 + ".com",
        ("a." * 130) + "com",
        "host.test",
        "host.invalid",
        "kubernetes.default.svc.local",
    ),
)
SHAPES = (  # {} is the trap's port
    *(
        "http://example.com:{}/",
        "ftp://example.com:{}/",
        "file:///etc/passwd",
        "gopher://127.0.0.1:{}/_",
        "//127.0.0.1:{}/",
    ),
    *(
        "https:///127.0.0.1:{}/",
        "https:127.0.0.1:{}",
        "https:/127.0.0.1:{}/",
        "HTTPS://LOCALHOST:{}/",
        "data:text/html,x",
    ),
    *("https://user@example.com:{}/", "https://example.com@127.0.0.1:{}/", "https://127.0.0.1:{}@example.com/"),
    *(
        "https://example.com:{}#@127.0.0.1/",
        "https://example.com\\@127.0.0.1:{}/",
        "https://127.0.0.1:{}\\@example.com/",
    ),
    *("https://example.com:0/", "https://example.com:/", "https://example.com:65536/", "https://example.com:-1/"),
    *("https://example.com:22/", "https://example.com:6379/", "https://example.com:80/", "https://example.com:44３/"),
    *("https://127.0.0.1:{}:443/", "https://[::1]:{}x/", "https://[::1", "https://::1:{}/", "https://[::1]]:{}/"),
    *("javascript:alert(1)", "unix:/tmp/redis.sock", "jar:https://127.0.0.1:{}!/", "https://127.0.0.1:{}/#", ""),
    *(
        " https://example.com:{}/",
        "https://example.com:{}/\r\nHost: x",
        "https://example.com:{}/\x00",
        "https://[::1]:{}/%",
    ),
)
LISTS: tuple[tuple[str, ...], ...] = (
    ("8.8.8.8", "127.0.0.1"),
    ("127.0.0.1", "8.8.8.8"),
    ("2606:4700::1111", "::1"),
    ("8.8.8.8", "2606:4700::1111", "fe80::1"),
    ("8.8.8.8", "169.254.169.254"),
    (),
)

URLS = (
    *(f"https://{address}:{{}}/hook" for address in NOT_PUBLIC_V4),
    *(f"https://[{address}]:{{}}/hook" for address in NOT_PUBLIC_V6),
    *(f"https://{host}:{{}}/hook" for host in HIDDEN),
    *SHAPES,
)
ANSWERS = (*((address,) for address in (*NOT_PUBLIC_V4, *NOT_PUBLIC_V6)), *LISTS)


@pytest.fixture(scope="module")
def trap() -> Iterator[Trap]:
    with Trap() as listening:
        yield listening


@cache
def tls() -> ssl.SSLContext:
    return ssl.create_default_context()


def post(rules: UrlPolicy, url: str, answers: list[Sequence[str]] | None = None) -> int:
    """Post as the deliverer does; `answers` are what the host's name stands for, each time it is looked up."""

    async def find(host: str, port: int, owner: str) -> Sequence[str]:
        return answers.pop(0) if answers is not None else await Lookup().find(host, port, owner)

    return asyncio.run(WebhookTransport(rules, tls=tls(), find=find).post(url, {}, b"{}", "ann"))


def test_there_are_two_hundred_cases() -> None:
    assert len(URLS) + len(ANSWERS) >= 200
    assert len(set(URLS)) == len(URLS)


@pytest.mark.parametrize("url", URLS, ids=ascii)
def test_no_url_leads_home(trap: Trap, url: str) -> None:
    with pytest.raises(TargetRefused):
        post(UrlPolicy(ports=frozenset({trap.port})), url.format(trap.port))
    assert trap.caught == []


@pytest.mark.parametrize("addresses", ANSWERS, ids=" ".join)
def test_no_name_leads_home(trap: Trap, addresses: tuple[str, ...]) -> None:
    with pytest.raises(TargetRefused, match=r"not public|no address"):
        post(UrlPolicy(ports=frozenset({trap.port})), f"https://example.com:{trap.port}/", [addresses])
    assert trap.caught == []


def test_a_name_that_changes_its_mind_leads_nowhere_else() -> None:
    """A name is looked up once, and what was checked is what is connected to."""
    answers: list[Sequence[str]] = [["127.0.0.1"], ["127.0.0.2"]]
    with Trap() as own:
        origin = f"https://example.com:{own.port}"
        with pytest.raises(NotDelivered):
            post(UrlPolicy(allowed=frozenset({origin})), f"{origin}/hook", answers)
        own.await_caught(1)
    assert own.caught == ["::ffff:127.0.0.1"]
    assert answers == [["127.0.0.2"]]


def test_a_container_is_reached_by_the_name_that_the_operator_allows() -> None:
    with Trap() as own:
        origin = origin_of(f"https://my_app:{own.port}")
        with pytest.raises(NotDelivered):
            post(UrlPolicy(allowed=frozenset({origin})), f"{origin}/hook", [["127.0.0.1"]])
        own.await_caught(1)
        for url in (f"{origin}0/hook", origin.replace("my_app", "my_other_app")):
            with pytest.raises(TargetRefused):
                post(UrlPolicy(allowed=frozenset({origin})), url)


def test_the_trap_works() -> None:
    with Trap() as own:
        for host in ("127.0.0.1", "[::1]"):
            origin = f"https://{host}:{own.port}"
            with pytest.raises(NotDelivered):
                post(UrlPolicy(allowed=frozenset({origin_of(origin)})), f"{origin}/hook")
        own.await_caught(2)
    assert own.caught == ["::ffff:127.0.0.1", "::1"]


@pytest.mark.parametrize(
    ("url", "understood"),
    [
        ("https://example.com", "https://example.com:443/"),
        ("https://Example.COM:8443/a/b?c=d&e=%20", "https://example.com:8443/a/b?c=d&e=%20"),
        ("https://hooks.xn--bcher-kva.example/x", "https://hooks.xn--bcher-kva.example:443/x"),
        ("https://8.8.8.8/", "https://8.8.8.8:443/"),
        ("https://[2606:4700:4700::1111]/", "https://[2606:4700:4700::1111]:443/"),
        ("https://example.com?x", "https://example.com:443/?x"),
    ],
)
def test_public_addresses_are_understood(url: str, understood: str) -> None:
    assert UrlPolicy().target(url).url == understood
    UrlPolicy().check(UrlPolicy().target(url), ["8.8.8.8", "1.1.1.1", "2606:4700:4700::1111"])


def test_an_operator_allows_whole_origins_only() -> None:
    rules = UrlPolicy(allowed=frozenset({origin_of("http://10.0.0.7:9000"), origin_of("https://hooks.internal")}))
    assert rules.target("http://10.0.0.7:9000/a?b").trusted
    assert rules.target("https://hooks.internal/x").trusted
    rules.check(rules.target("https://hooks.internal/x"), ["10.0.0.8"])
    for url in ("http://10.0.0.7:9001/", "http://10.0.0.8:9000/", "https://10.0.0.7:9000/", "http://hooks.internal/"):
        with pytest.raises(TargetRefused):
            rules.target(url)
    with pytest.raises(TargetRefused, match="no path"):
        origin_of("http://10.0.0.7:9000/path")
