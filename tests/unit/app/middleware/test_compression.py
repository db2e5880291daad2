"""JSON goes out compressed where the caller takes that, pictures and streams as they are; documents carry a tag."""

import gzip

import pytest

from tests.support.gateway import Gateway
from tests.support.pictures import encoded, picture

GZIP, PLAIN = {"Accept-Encoding": "gzip"}, {"Accept-Encoding": "identity"}
CATALOGUE = ["/v1/methods", "/v1/models", "/openapi.json"]


def raw(gateway: Gateway, path: str, headers: dict[str, str]) -> tuple[dict[str, str], bytes]:
    with gateway.client.stream("GET", path, headers=headers) as answer:
        assert answer.status_code == 200
        return dict(answer.headers), b"".join(answer.iter_raw())


@pytest.mark.parametrize("path", ["/v1/methods", "/openapi.json", "/metrics"])
def test_long_texts_are_compressed(gateway: Gateway, path: str) -> None:
    headers, body = raw(gateway, path, GZIP)
    assert headers["content-encoding"] == "gzip"
    assert "Accept-Encoding" in headers["vary"]
    assert len(body) < len(gzip.decompress(body)) / 2
    assert "content-encoding" not in raw(gateway, path, PLAIN)[0]


def test_pictures_and_streams_are_not(gateway: Gateway) -> None:
    job = gateway.finish(gateway.accepted()["id"], encoded(picture())).id
    for path in (f"/jobs/{job}/images/0", f"/jobs/{job}/events"):
        assert "content-encoding" not in raw(gateway, path, GZIP)[0]


@pytest.mark.parametrize("path", CATALOGUE)
@pytest.mark.parametrize("coding", [GZIP, PLAIN], ids=["gzip", "plain"])
def test_a_document_that_the_caller_has_is_not_sent_again(gateway: Gateway, path: str, coding: dict[str, str]) -> None:
    first = gateway.client.get(path, headers=coding)
    tag = first.headers["etag"]
    assert tag.startswith('W/"'), "the bytes differ by their coding"
    assert first.headers["cache-control"] == "no-cache"
    for sent in (tag, f'"other", {tag}', tag.removeprefix("W/"), "*"):
        again = gateway.client.get(path, headers=coding | {"If-None-Match": sent})
        assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag)
    assert gateway.client.get(path, headers=coding | {"If-None-Match": '"other"'}).json() == first.json()
