"""1,000 requests drawn from our own OpenAPI document: no server error, no undocumented status, type or shape.

Half the ids are those of things that exist, and files are mostly real pictures, so that the requests get somewhere.
"""

import random
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import Case, GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from deploy.redis_child import RedisChild
from tests.gateway import Gateway
from tests.unit.app.pictures import encoded, picture, style

CASES, COUNT = 1000, 60
CONFORMANCE = [status_code_conformance, content_type_conformance, response_schema_conformance]
NOT_READY = {("GET", "/readyz"): 503, ("POST", "/v1/images/edits"): 504, ("POST", "/v1/images/generations"): 504}
"""What is right here, where no worker is: documented all the same."""
HARMLESS = ("seed", "num_images", "steps", "guidance_scale", "strength", "output_format", "priority")
PICTURE = encoded(picture())
pytestmark = pytest.mark.filterwarnings("default")


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    folder = tmp_path_factory.mktemp("openapi")
    environ = {"STYLIZE_GATEWAY_WAIT_SECONDS": "0", "STYLIZE_MAX_QUEUED": "200"}
    with RedisChild(folder / "redis") as redis, Gateway(folder, redis, environ) as running:
        yield running


def things(gateway: Gateway) -> dict[str, str]:
    """Ids of a job that is done, a style and a comparison."""
    job = gateway.finish(gateway.accepted()["id"], PICTURE).id
    saved = gateway.client.post("/styles", data={"name": "a"}, files=style()).json()["id"]
    fields = {"method": "signal-leak", "prompt": "a"}
    group = gateway.client.post("/comparisons", data=fields, files=style()).json()["id"]
    gateway.client.delete(f"/comparisons/{group}")
    return {"job_id": job, "style_id": saved, "comparison_id": group}


def placed(case: Case, known: dict[str, str], drawn: random.Random) -> None:
    """Put what exists into a drawn request."""
    for name in case.path_parameters or {}:
        if name in known and (drawn.random() < 0.5 or case.path.endswith("/events")):
            case.path_parameters[name] = known[name]
    body: Any = case.body
    if not isinstance(body, dict) or drawn.random() < 0.2:
        return
    for name, value in body.items():
        if "image" in name and name != "num_images":
            body[name] = [PICTURE] * len(value) if isinstance(value, list) else PICTURE
    if case.path in ("/stylize", "/comparisons") and drawn.random() < 0.5:
        kept = {name: value for name, value in body.items() if name in HARMLESS}
        case.body = kept | {"method": "signal-leak", "prompt": "a", "style_image": [PICTURE]}


def operations(gateway: Gateway) -> list[Any]:
    schema = schemathesis.openapi.from_url(f"http://127.0.0.1:{gateway.port}/openapi.json")
    return [found.ok() for found in schema.get_all_operations()]


def exercised(operation: Any, known: dict[str, str], count: int) -> list[int]:
    """Send requests drawn for an operation and check each answer; return their statuses."""
    right = NOT_READY.get((operation.method.upper(), operation.path))
    drawn, statuses = random.Random(1), []

    def check(case: Case) -> None:
        placed(case, known, drawn)
        answer = case.call(timeout=30)
        statuses.append(answer.status_code)
        case.validate_response(answer, checks=CONFORMANCE)
        if answer.status_code != right:
            case.validate_response(answer, checks=[not_a_server_error])

    for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):
        rules = settings(
            max_examples=count // 2,
            derandomize=True,
            deadline=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
            database=None,
        )
        with suppress(Unsatisfiable):  # nothing can be wrong with a request that takes nothing
            rules(given(case=operation.as_strategy(generation_mode=mode))(check))()
    return statuses


def test_nothing_but_what_is_documented(alone: Gateway) -> None:
    known, every = things(alone), operations(alone)
    rich = [operation for operation in every if operation.body or operation.path_parameters or operation.query]
    made = [
        status for operation in every for status in exercised(operation, known, 8 if operation not in rich else COUNT)
    ]
    assert len(made) >= CASES, len(made)
    assert {200, 202, 204, 404, 422} <= set(made)
