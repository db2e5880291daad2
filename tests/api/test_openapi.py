"""1,000 requests drawn from our own OpenAPI document: no server error, no undocumented status, type or shape.

`python -m tests.api.soak` draws any number of them.
"""

from collections.abc import Iterator

import pytest

from tests.api.drawn import STEPS, Tally, alone, documented, exercised, things, walked
from tests.support.gateway import Gateway

CASES, COUNT, WALKS = 1000, 60, 10
pytestmark = pytest.mark.filterwarnings("default")


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with alone(tmp_path_factory.mktemp("openapi")) as running:
        yield running


def test_nothing_but_what_is_documented(gateway: Gateway) -> None:
    known, tally = things(gateway), Tally()
    for found in documented(gateway).get_all_operations():
        operation = found.ok()
        rich = operation.body or operation.path_parameters or operation.query
        tally += exercised(operation, known, COUNT if rich else 8)
    assert tally.total() >= CASES
    assert {200, 202, 204, 404, 422} <= {status for _, status in tally}


def test_what_was_made_is_found_along_the_links(gateway: Gateway) -> None:
    tally = walked(documented(gateway), things(gateway), WALKS)
    assert tally.total() >= WALKS * STEPS / 2
    assert {201, 202} & {status for label, status in tally if label.startswith("POST")}
    assert {200} <= {status for label, status in tally if "_id}" in label}
