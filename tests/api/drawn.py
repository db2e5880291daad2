"""Requests drawn from our own OpenAPI document, one by one and along its links, and what must hold of each answer.

Half the ids are those of things that exist, and files are mostly real pictures, so that the requests get somewhere.
"""

import json
import random
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis.errors import FlakyStrategyDefinition, Unsatisfiable
from schemathesis import Case, GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.generation.stateful import run_state_machine_as_test
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from deploy.embedded.redis import RedisProcess
from tests.support.gateway import Gateway
from tests.support.pictures import encoded, picture, style

CONFORMANCE = [status_code_conformance, content_type_conformance, response_schema_conformance]
NOT_READY = {("GET", "/readyz"): 503, ("POST", "/v1/images/edits"): 504, ("POST", "/v1/images/generations"): 504}
"""What is right here, where no worker is: documented all the same."""
HARMLESS = ("seed", "num_images", "steps", "guidance_scale", "strength", "output_format", "priority")
PICTURE = encoded(picture())
MULTIPART = "multipart/form-data"
STEPS = 12
"""Requests of one walk along the links."""
LINKED = r"^/v1/(stylize|comparisons|styles|jobs/)"
WILLING: dict[str, dict[str, Any]] = {
    "/v1/stylize": {"method": "signal-leak", "prompt": "a", "style_image": [PICTURE]},
    "/v1/comparisons": {"method": ["signal-leak"], "prompt": "a", "style_image": [PICTURE]},
    "/v1/styles": {"name": "a", "style_image": [PICTURE]},
    "/v1/styles/{style_id}/precompute": {"method": ["signal-leak"]},
}
"""What a request of which something is made needs."""
Tally = Counter[tuple[str, int]]


@contextmanager
def alone(folder: Path) -> Iterator[Gateway]:
    """A gateway without workers, which answers at once."""
    environ = {"STYLIZE_GATEWAY_WAIT_SECONDS": "0", "STYLIZE_MAX_QUEUED": "200"}
    with RedisProcess(folder / "redis") as redis, Gateway(folder, redis, environ) as running:
        yield running


def things(gateway: Gateway) -> dict[str, str]:
    """Ids of a job that is done, a style and a comparison."""
    job = gateway.finish(gateway.accepted()["id"], PICTURE).id
    saved = gateway.client.post("/styles", data={"name": "a"}, files=style()).json()["id"]
    fields = {"method": "signal-leak", "prompt": "a"}
    group = gateway.client.post("/comparisons", data=fields, files=style()).json()["id"]
    gateway.client.delete(f"/comparisons/{group}")
    return {"job_id": job, "style_id": saved, "comparison_id": group}


def emptied(gateway: Gateway) -> None:
    """Cancel what waits and delete the styles: a full service only refuses."""
    cursor: str | None = ""
    while cursor is not None:
        page = gateway.store.page(limit=1000, cursor=cursor)
        for job in page.jobs:
            gateway.store.cancel(job.id)
        cursor = page.cursor
    while kept := gateway.client.get("/styles", params={"limit": 100}).json()["styles"]:
        for one in kept:
            gateway.client.delete(f"/styles/{one['id']}").raise_for_status()


def documented(gateway: Gateway) -> Any:
    """The document that the gateway serves.

    Files lose their `format`, which is there for generators of clients: of wrong requests with files so described
    schemathesis 4.32 cannot draw any ("Unsupported type: 'Binary'").
    """
    text = gateway.client.get("/openapi.json").raise_for_status().text
    schema = schemathesis.openapi.from_dict(json.loads(text, object_hook=_plain))
    schema.config.update(base_url=f"http://127.0.0.1:{gateway.port}")
    return schema


def _plain(part: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in part.items() if (name, value) != ("format", "binary")}


def exercised(operation: Any, known: dict[str, str], count: int, *, start: int | None = None) -> Tally:
    """Send requests drawn for an operation, right and wrong ones, and check each answer."""
    drawn, tally = random.Random(start or 1), Tally()

    def check(case: Case) -> None:
        _place(case, known, drawn)
        _fill(case, drawn)
        answer = case.call(timeout=60)
        tally[case.operation.label, answer.status_code] += 1
        _judge(case, answer)

    for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):
        with suppress(Unsatisfiable):  # nothing can be wrong with a request that takes nothing
            test = given(case=operation.as_strategy(generation_mode=mode))(check)
            _rules(count // 2, start)(test if start is None else seed(start)(test))()
    return tally


def walked(document: Any, known: dict[str, str], walks: int, *, start: int | None = None) -> Tally:
    """Make things and do with them what the document's links say, in walks of STEPS requests; check each answer.

    What a walk draws depends on what the service has by then. Hypothesis takes that for a mistake when it meets it, and
    ends: the walks are then fewer.
    """
    drawn, tally = random.Random(start or 1), Tally()
    wrong: list[BaseException] = []

    class Walk(document.include(path_regex=LINKED).as_state_machine()):  # type: ignore[misc]
        def before_call(self, case: Case) -> None:
            if case.path.endswith("/events"):  # that of an unfinished job does not end
                case.path_parameters["job_id"] = known["job_id"]
            if case.method.upper() == "POST" and case.path in WILLING and drawn.random() < 0.9:
                case.body, case.headers, case.query, case.media_type = dict(WILLING[case.path]), {}, {}, MULTIPART
            else:
                _fill(case, drawn)

        def get_call_kwargs(self, case: Case) -> dict[str, Any]:
            return {"timeout": 60}

        def after_call(self, response: Any, case: Case) -> None:
            super().after_call(response, case)
            tally[case.operation.label, response.status_code] += 1

        def validate_response(self, response: Any, case: Case, additional_checks: Any = None, **_: Any) -> None:
            try:
                _judge(case, response)
            except BaseException as fault:
                wrong.append(fault)
                raise

    factory = Walk if start is None else seed(start)(Walk)
    try:
        run_state_machine_as_test(factory, settings=settings(_rules(walks, start), stateful_step_count=STEPS))
    except FlakyStrategyDefinition:
        if wrong:
            raise wrong[0] from None
    return tally


def _rules(count: int, start: int | None) -> settings:
    return settings(
        max_examples=count,
        derandomize=start is None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
        database=None,
    )


def _place(case: Case, known: dict[str, str], drawn: random.Random) -> None:
    """Put the ids of what exists into a drawn request."""
    for name in case.path_parameters or {}:
        if name in known and (drawn.random() < 0.5 or case.path.endswith("/events")):
            case.path_parameters[name] = known[name]


def _fill(case: Case, drawn: random.Random) -> None:
    """Put real pictures into a drawn request, or all that it needs to be accepted."""
    body: Any = case.body if isinstance(case.body, dict) else {}
    if case.method.upper() == "POST" and case.path in WILLING and drawn.random() < 0.5:
        styles = case.path.startswith("/v1/styles")
        kept = {name: value for name, value in body.items() if name in HARMLESS and not styles}
        case.body, case.media_type = kept | WILLING[case.path], MULTIPART
    elif drawn.random() < 0.8 and case.media_type == MULTIPART:
        for name, value in body.items():
            if "image" in name and name != "num_images":
                body[name] = [PICTURE] * len(value) if isinstance(value, list) else PICTURE


def _judge(case: Case, answer: Any) -> None:
    """Raise what is wrong with an answer: its status, type or shape is not documented, or the server failed."""
    stream = answer.headers.get("content-type", [""])[0].startswith("text/event-stream")
    checks = [one for one in CONFORMANCE if not stream or one is not response_schema_conformance]
    case.validate_response(answer, checks=checks)  # each event would be compared with the schema of the whole stream
    if answer.status_code != NOT_READY.get((case.method.upper(), case.path)):
        case.validate_response(answer, checks=[not_a_server_error])
