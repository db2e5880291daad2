"""What the OpenAPI document says beyond the routes: forms that depend on what the host offers, and links."""

from typing import Any

from app.capabilities import Capabilities
from app.schemas.problem import ProblemView
from app.services.comparisons.grid import LISTS, MOST_CELLS, NOT_COMPARED
from app.uploads.form_schema import FILE, StylizeSchema
from app.uploads.limits import MAX_BYTES, MAX_PIXELS, MEDIA_TYPES
from app.uploads.receive import JSON, URLENCODED
from workers.contract.spec import Spec

SECURITY_SCHEMES = {
    "key": {"type": "http", "scheme": "bearer", "description": "an API key; not needed while the host has none"}
}
FOLLOW_UPS: dict[str, tuple[str, dict[str, dict[str, str]]]] = {
    "/stylize": (
        "job_id",
        {"read_job": {}, "cancel_job": {}, "read_image": {"number": "0"}, "read_preview": {}, "read_deliveries": {}},
    ),
    "/comparisons": ("comparison_id", {"read_comparison": {}, "cancel_comparison": {}, "read_sheet": {}}),
    "/styles": ("style_id", {"read_style": {}, "precompute_style": {}, "delete_style": {}}),
}
"""What can be done with what a POST has made: the parameter that takes its id, and the operations with others."""
ENCODING = {"contentType": ", ".join(MEDIA_TYPES)}
MEANINGS = {
    "mask_image": "what is repainted of the content image is white in it, or transparent where anything is; it has the "
    "content image's size; "
}


def form_body(capabilities: Capabilities, form: StylizeSchema) -> dict[str, Any]:
    """Return the `requestBody` of `POST /stylize`: files need multipart, without them a web form or JSON will do."""
    files = {name: _file(name, most) for name, most in form.files.items()}
    stored = {name: _stored(form.files[name]) for name in form.stored}
    texts = {name: field.schema for name, field in form.texts.items()}
    in_json = {name: field.json_schema for name, field in form.texts.items()}
    encoding = {"params": {"contentType": JSON}}
    multipart = dict.fromkeys(files, ENCODING) | encoding
    multipart["recipe"] = {"contentType": f"{JSON}, {ENCODING['contentType']}"}
    content = {
        "multipart/form-data": {"schema": _form(capabilities, files | texts), "encoding": multipart},
        URLENCODED: {"schema": _form(capabilities, stored | texts), "encoding": encoding},
        JSON: {"schema": _form(capabilities, stored | in_json)},
    }
    return {"required": True, "content": content}


def _form(capabilities: Capabilities, properties: dict[str, Any]) -> dict[str, Any]:
    params = properties["params"] | {
        "description": "the technique's own parameters as a JSON object; unknown ones are refused. "
        + " ".join(_knobs(spec) for spec in capabilities.specs)
    }
    return {
        "type": "object",
        "additionalProperties": False,
        "properties": properties | {"params": params},
        "example": {"method": capabilities.specs[0].name, "prompt": "a house by a lake", "seed": 7, "strength": 1.0},
    }


def comparison_body(capabilities: Capabilities, form: StylizeSchema) -> dict[str, Any]:
    """Return the `requestBody` of `POST /comparisons`: that of a request, with lists."""
    body = form_body(capabilities, form)
    for content in body["content"].values():
        _compare(content["schema"])
        for name in NOT_COMPARED:
            content.get("encoding", {}).pop(name, None)
    return body


def _compare(schema: dict[str, Any]) -> None:
    """Make the schema of a request that of a comparison."""
    properties = schema["properties"]
    for name in NOT_COMPARED:
        properties.pop(name, None)
    for name in LISTS:
        properties[name] = {"type": "array", "items": properties[name], "maxItems": MOST_CELLS}
    properties["params"]["description"] = "the parameters of each method by its name, as a JSON object"
    schema["required"] = ["method"]
    schema["example"] = {"method": ["instantstyle", "signal-leak"], "prompt": "a house by a lake", "seed": [7, 8]}


def link(document: dict[str, Any]) -> None:
    """Say in the document which operations take the id of what a POST has made."""
    for path, (parameter, operations) in FOLLOW_UPS.items():
        links = {
            name: {"operationId": name, "parameters": {parameter: "$response.body#/id", **others}}
            for name, others in operations.items()
        }
        for status, response in document["paths"][path]["post"]["responses"].items():
            if status.startswith("2"):
                response["links"] = links


def problem_schemas() -> dict[str, Any]:
    """Return the schemas of the problem document, by name."""
    schema = ProblemView.model_json_schema(ref_template="#/components/schemas/{model}")
    return {**schema.pop("$defs"), ProblemView.__name__: schema}


def _file(name: str, most: int) -> dict[str, Any]:
    limits = f"PNG, JPEG or WebP, one frame, at most {MAX_BYTES:,} bytes and {MAX_PIXELS:,} pixels"
    if most == 1:
        return FILE | {"description": f"{MEANINGS.get(name, '')}{limits}; for methods that take it, see GET /methods"}
    return {"type": "array", "items": FILE, "maxItems": most, "description": f"the style references: {limits}"}


def _stored(most: int) -> dict[str, Any]:
    one = {"type": "string", "pattern": "^[0-9a-f]{64}$"}
    help = "sha256 of a stored picture, as a job's `recipe` names it"
    return (
        one | {"description": help}
        if most == 1
        else {"type": "array", "items": one, "maxItems": most, "description": help}
    )


def _knobs(spec: Spec) -> str:
    return f"{spec.name}: {', '.join(spec.params.model_fields) or 'none'}."
