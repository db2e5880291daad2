"""The OpenAPI document: what its readers, people and generators, may expect of it."""

import copy
import json
from typing import Any

import pytest

from app.api.document.texts import FIELDS, OWN, PARAMETERS, SHARED
from tests.api import document_rules as rules
from tests.api.document_file import FILE, served_document, written
from tests.api.document_rules import RULES, Document, Rule, operations

PROBLEM = {"$ref": "#/components/schemas/ProblemView"}


@pytest.fixture(scope="module")
def document() -> Document:
    return json.loads(FILE.read_text())


def test_the_kept_document_is_the_one_that_is_served() -> None:
    assert FILE.read_text(encoding="utf-8") == written(), "run: make docs"


def test_it_is_the_same_on_every_host(document: Document) -> None:
    assert served_document("tiny-sdxl", "tiny-sd15") == document


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_a_rule_holds(document: Document, rule: Rule) -> None:
    assert list(rule(document)) == []


@pytest.mark.parametrize(
    ("rule", "path", "value"),
    [
        (rules.oas3_schema, ("info",), 1),
        (
            rules.oas3_schema,
            ("paths", "/v1/stylize", "post", "responses", "202", "links", "read_image", "parameters"),
            {"number": 0},
        ),
        (rules.oas3_valid_schema_example, ("components", "schemas", "JobView", "examples"), [{}]),
        (rules.array_items, ("components", "schemas", "JobsView", "properties", "jobs"), {"type": "array"}),
        (rules.typed_enum, ("components", "schemas", "State", "enum"), ["queued", 1]),
        (rules.duplicated_entry_in_enum, ("components", "schemas", "State", "enum"), ["queued", "queued"]),
        (rules.operation_success_response, ("paths", "/livez", "get", "responses"), {"503": {"description": "x"}}),
        (rules.operation_operation_id, ("paths", "/livez", "get", "operationId"), "readyz"),
        (rules.operation_description, ("paths", "/livez", "get", "description"), ""),
        (rules.operation_tags, ("paths", "/livez", "get", "tags"), ["other"]),
        (rules.operation_parameters, ("paths", "/livez", "get", "parameters"), [{"in": "query", "name": "a"}] * 2),
        (rules.path_params, ("paths", "/v1/jobs/{job_id}", "get", "parameters"), []),
        (rules.path_keys, ("paths", "/v1/"), {}),
        (rules.info_and_servers, ("servers",), []),
        (rules.oas3_operation_security_defined, ("security",), [{"other": []}]),
        (rules.oas3_unused_component, ("components", "schemas", "Unused"), {}),
        (rules.no_scripts_in_markdown, ("paths", "/livez", "get", "description"), "<script>"),
        (rules.properties_described, ("components", "schemas", "JobView", "properties", "new"), {"type": "string"}),
    ],
)
def test_a_rule_finds_what_breaks_it(document: Document, rule: Rule, path: tuple[str, ...], value: Any) -> None:
    broken = copy.deepcopy(document)
    place = broken
    for name in path[:-1]:
        place = place[name]
    place[path[-1]] = value
    assert list(rule(broken))


def test_errors_are_problems_that_say_when_to_try_again(document: Document) -> None:
    for at, operation in operations(document):
        for status, response in operation["responses"].items():
            headers = response["headers"]
            assert "X-Request-Id" in headers
            assert ("Retry-After" in headers) == (status in ("429", "503")), (at, status)
            if int(status) >= 400 and at != "get /readyz":
                assert response["content"]["application/problem+json"]["schema"] == PROBLEM
            if at.startswith("post") and status in ("200", "201", "202", "429"):
                assert {"RateLimit-Limit", "RateLimit-Remaining", "RateLimit-Reset"} <= headers.keys()
    assert not {"HTTPValidationError", "ValidationError"} & document["components"]["schemas"].keys()


def test_a_429_tells_each_reason_that_it_has(document: Document) -> None:
    for path in ("/v1/stylize", "/v1/comparisons", "/v1/styles"):
        said = document["paths"][path]["post"]["responses"]["429"]["description"]
        assert said == "The queue is full; Too many unfinished jobs; Too many requests"


def test_the_paths_of_the_api_are_those_with_a_version(document: Document) -> None:
    plain = {path for path in document["paths"] if not path.startswith("/v1/")}
    assert plain == {"/livez", "/readyz", "/metrics"}


def test_files_and_streams_are_told_so_that_generators_know_them(document: Document) -> None:
    form = document["paths"]["/v1/stylize"]["post"]["requestBody"]["content"]["multipart/form-data"]["schema"]
    assert form["properties"]["content_image"]["format"] == "binary"
    assert "enum" not in form["properties"]["model"]
    events = document["paths"]["/v1/jobs/{job_id}/events"]["get"]["responses"]["200"]["content"]["text/event-stream"]
    assert events["schema"]["type"] == "string"


def test_no_text_is_left_over(document: Document) -> None:
    found = document["components"]["schemas"]
    assert not OWN.keys() - found.keys()
    assert not {
        f"{name}.{prop}" for name, texts in OWN.items() for prop in texts.keys() - found[name]["properties"].keys()
    }
    assert not SHARED.keys() - {prop for schema in found.values() for prop in schema.get("properties", {})}
    named = {part["name"] for _, one in operations(document) for part in one.get("parameters", ())}
    assert not PARAMETERS.keys() - named
    bodies = [one.get("requestBody", {"content": {}})["content"].values() for _, one in operations(document)]
    fields = {name for body in bodies for content in body for name in content["schema"]["properties"]}
    assert not FIELDS.keys() - fields
