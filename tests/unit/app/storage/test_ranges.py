"""Parts of pictures: a download that broke off goes on where it ended."""

import pytest

from tests.support.gateway import Gateway
from tests.support.pictures import encoded, picture

PNG = encoded(picture(size=(300, 300)))
SIZE = len(PNG)


@pytest.fixture(scope="module")
def address(gateway: Gateway) -> str:
    return f"/v1/jobs/{gateway.finish(gateway.accepted()['id'], PNG).id}/images/0"


@pytest.mark.parametrize(
    ("asked", "first", "last"),
    [
        ("bytes=0-0", 0, 0),
        ("bytes=5-104", 5, 104),
        ("bytes=100-", 100, SIZE - 1),
        ("bytes=-100", SIZE - 100, SIZE - 1),
        ("bytes=0-999999999", 0, SIZE - 1),
        ("bytes=-999999999", 0, SIZE - 1),
        (f"bytes={SIZE - 1}-", SIZE - 1, SIZE - 1),
    ],
)
def test_a_part_is_206(gateway: Gateway, address: str, asked: str, first: int, last: int) -> None:
    answer = gateway.client.get(address, headers={"Range": asked})
    assert (answer.status_code, answer.content) == (206, PNG[first : last + 1])
    assert answer.headers["content-range"] == f"bytes {first}-{last}/{SIZE}"
    assert answer.headers["content-length"] == str(last + 1 - first)
    assert answer.headers["content-type"] == "image/png"


@pytest.mark.parametrize("asked", [f"bytes={SIZE}-", "bytes=999999999-", "bytes=-0", f"bytes={SIZE}-{SIZE + 5}"])
def test_no_byte_of_the_file_is_416(gateway: Gateway, address: str, asked: str) -> None:
    answer = gateway.client.get(address, headers={"Range": asked})
    assert (answer.status_code, answer.headers["content-range"]) == (416, f"bytes */{SIZE}")
    assert answer.json()["type"] == "urn:stylize:problem:range-not-satisfiable"


@pytest.mark.parametrize("asked", ["bytes=0-1,5-6", "bytes=9-5", "bytes=-", "bytes", "lines=0-5", "bytes=a-b"])
def test_what_is_no_single_part_gets_all(gateway: Gateway, address: str, asked: str) -> None:
    answer = gateway.client.get(address, headers={"Range": asked})
    assert (answer.status_code, answer.content) == (200, PNG)
    assert answer.headers["accept-ranges"] == "bytes"


def test_a_part_of_another_file_gets_all(gateway: Gateway, address: str) -> None:
    tag = gateway.client.head(address).headers["etag"]
    asked = {"Range": "bytes=0-9"}
    assert gateway.client.get(address, headers=asked | {"If-Range": tag}).status_code == 206
    assert gateway.client.get(address, headers=asked | {"If-Range": '"other"'}).content == PNG
    assert gateway.client.get(address, headers=asked | {"If-None-Match": tag}).status_code == 304


def test_a_reference_picture_comes_in_parts_too(gateway: Gateway) -> None:
    (sha256,) = gateway.accepted()["recipe"]["style_images"]
    whole = gateway.client.get(f"/v1/inputs/{sha256}").content
    part = gateway.client.get(f"/v1/inputs/{sha256}", headers={"Range": "bytes=8-"})
    assert (part.status_code, part.content) == (206, whole[8:])


def test_parts_that_were_refused_hold_nothing_open(gateway: Gateway, address: str) -> None:
    for _ in range(200):
        assert gateway.client.get(address, headers={"Range": "bytes=999999999-"}).status_code == 416
    assert gateway.client.get(address).content == PNG
