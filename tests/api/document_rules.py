"""The rules of Spectral's `spectral:oas` that a document of OpenAPI 3.1 can break: each a function that finds faults.

Named as Spectral names them. Rules on Swagger 2, `callbacks` and `servers` with variables have nothing to look at here.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

from jsonschema import Draft202012Validator
from openapi_spec_validator import OpenAPIV31SpecValidator
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

Document = dict[str, Any]
Rule = Callable[[Document], Iterator[str]]
VERBS = ("get", "post", "put", "delete", "patch", "head", "options", "trace")
URL_SAFE = re.compile(r"[A-Za-z0-9\-._~:/?#\[\]@!$&'()*+,;=]*")
HERE = "urn:document"


def operations(document: Document) -> Iterator[tuple[str, Document]]:
    for path, item in document["paths"].items():
        yield from ((f"{verb} {path}", item[verb]) for verb in VERBS if verb in item)


def nodes(node: Any, place: str = "#") -> Iterator[tuple[str, Document]]:
    """Yield every object of a document with its place."""
    if isinstance(node, dict):
        yield place, node
        for name, part in node.items():
            if name not in ("example", "examples", "default", "enum", "const"):
                yield from nodes(part, f"{place}/{name.replace('~', '~0').replace('/', '~1')}")
    elif isinstance(node, list):
        for number, part in enumerate(node):
            yield from nodes(part, f"{place}/{number}")


def schemas(document: Document) -> Iterator[tuple[str, Document]]:
    """Yield what stands where a schema stands."""
    for place, node in nodes(document):
        if isinstance(node.get("schema"), dict):
            yield from nodes(node["schema"], f"{place}/schema")
    yield from nodes(document["components"]["schemas"], "#/components/schemas")


def errors(document: Document, schema: Document, value: Any) -> list[str]:
    """Return what is wrong with a value by a schema of the document."""
    registry: Registry[Any] = Registry().with_resource(HERE, Resource(document, DRAFT202012))
    rooted = _absolute(schema)
    return [fault.message for fault in Draft202012Validator(rooted, registry=registry).iter_errors(value)]


def _absolute(node: Any) -> Any:
    if isinstance(node, dict):
        return {
            name: HERE + part if name == "$ref" and isinstance(part, str) else _absolute(part)
            for name, part in node.items()
        }
    return [_absolute(part) for part in node] if isinstance(node, list) else node


def oas3_schema(document: Document) -> Iterator[str]:
    yield from (fault.message for fault in OpenAPIV31SpecValidator(document).iter_errors())
    for place, node in nodes(document):
        for name, link in node.get("links", {}).items() if isinstance(node.get("links"), dict) else ():
            texts = link.get("parameters", {}) if isinstance(link, dict) else {}
            yield from (f"{place}/links/{name}: {key}" for key, text in texts.items() if not isinstance(text, str))
        for kind, media in node.get("content", {}).items() if isinstance(node.get("content"), dict) else ():
            yield from (
                f"{place}: {kind}: {key}" for key in media.keys() - {"schema", "example", "examples", "encoding"}
            )


def oas3_valid_schema_example(document: Document) -> Iterator[str]:
    for place, schema in schemas(document):
        shown = [schema["example"]] if "example" in schema and "properties" in schema else []
        shown += schema["examples"] if isinstance(schema.get("examples"), list) else []
        shown += [schema["default"]] if "default" in schema and "properties" not in schema else []
        bare = {name: part for name, part in schema.items() if name not in ("example", "examples", "default")}
        yield from (f"{place}: {fault}" for value in shown for fault in errors(document, bare, value))


def oas3_valid_media_example(document: Document) -> Iterator[str]:
    for place, node in nodes(document):
        if "schema" in node and "example" in node:
            yield from (f"{place}: {fault}" for fault in errors(document, node["schema"], node["example"]))


def array_items(document: Document) -> Iterator[str]:
    yield from (place for place, schema in schemas(document) if schema.get("type") == "array" and "items" not in schema)


def typed_enum(document: Document) -> Iterator[str]:
    for place, schema in schemas(document):
        if isinstance(schema.get("enum"), list) and "type" in schema:
            kind = {"type": schema["type"]}
            yield from (f"{place}: {value}" for value in schema["enum"] if errors(document, kind, value))


def duplicated_entry_in_enum(document: Document) -> Iterator[str]:
    for place, schema in schemas(document):
        if isinstance(schema.get("enum"), list) and len(set(map(str, schema["enum"]))) < len(schema["enum"]):
            yield place


def operation_success_response(document: Document) -> Iterator[str]:
    yield from (at for at, one in operations(document) if not any(status[0] in "23" for status in one["responses"]))


def operation_operation_id(document: Document) -> Iterator[str]:
    ids = Counter(one.get("operationId", "") for _, one in operations(document))
    yield from (f"{name}: {count}" for name, count in ids.items() if count > 1 or not name)
    yield from (name for name in ids if not URL_SAFE.fullmatch(name))


def operation_description(document: Document) -> Iterator[str]:
    yield from (at for at, one in operations(document) if not one.get("description") or not one.get("summary"))


def operation_tags(document: Document) -> Iterator[str]:
    declared = {tag["name"] for tag in document["tags"]}
    yield from (at for at, one in operations(document) if not one.get("tags") or not set(one["tags"]) <= declared)
    yield from (tag["name"] for tag in document["tags"] if not tag.get("description"))


def operation_parameters(document: Document) -> Iterator[str]:
    for at, one in operations(document):
        counted = Counter((part["in"], part["name"].lower()) for part in one.get("parameters", ()))
        yield from (f"{at}: {part}" for part, count in counted.items() if count > 1)


def path_params(document: Document) -> Iterator[str]:
    for at, one in operations(document):
        named = set(re.findall(r"{(\w+)}", at))
        found = {part["name"] for part in one.get("parameters", ()) if part["in"] == "path" and part["required"]}
        if named != found:
            yield at


def path_keys(document: Document) -> Iterator[str]:
    yield from (path for path in document["paths"] if path.endswith("/") or "?" in path or "{}" in path)


def info_and_servers(document: Document) -> Iterator[str]:
    info = document["info"]
    yield from (name for name in ("title", "version", "description", "contact", "license") if not info.get(name))
    if not document.get("servers"):
        yield "servers"
    yield from (one["url"] for one in document.get("servers", ()) if re.search(r"./$|example\.com", one["url"]))


def oas3_operation_security_defined(document: Document) -> Iterator[str]:
    known = document["components"]["securitySchemes"].keys()
    wanted = [document["security"], *(one.get("security", []) for _, one in operations(document))]
    yield from (name for asked in wanted for one in asked for name in one if name not in known)


def oas3_unused_component(document: Document) -> Iterator[str]:
    used = {node["$ref"] for _, node in nodes(document) if isinstance(node.get("$ref"), str)}
    for kind in ("schemas", "headers", "responses", "parameters"):
        names = document["components"].get(kind, {})
        yield from (f"{kind}/{name}" for name in names if f"#/components/{kind}/{name}" not in used)


def no_scripts_in_markdown(document: Document) -> Iterator[str]:
    for place, node in nodes(document):
        texts = (node.get(name) for name in ("title", "description", "summary"))
        if any(isinstance(text, str) and re.search(r"<script|eval\(", text) for text in texts):
            yield place


def properties_described(document: Document) -> Iterator[str]:
    """Every property of an answer or a form, and every parameter, says what it is. (Ours, not Spectral's.)"""
    for place, schema in schemas(document):
        if isinstance(schema.get("properties"), dict):
            shown = schema["properties"].items()
            yield from (f"{place}: {name}" for name, part in shown if not part.get("description"))
    for at, one in operations(document):
        yield from (f"{at}: {part['name']}" for part in one.get("parameters", ()) if not part.get("description"))


RULES: tuple[Rule, ...] = (
    *(oas3_schema, oas3_valid_schema_example, oas3_valid_media_example, array_items, typed_enum),
    *(duplicated_entry_in_enum, operation_success_response, operation_operation_id, operation_description),
    *(operation_tags, operation_parameters, path_params, path_keys, info_and_servers),
    *(oas3_operation_security_defined, oas3_unused_component, no_scripts_in_markdown, properties_described),
)
