"""docs/flux.md: each request on the page is one that the gateway takes, each model and setting is there."""

import ast
import json
import re
import shlex
from itertools import pairwise
from typing import Any

import pytest

from app.capabilities import Capabilities
from app.settings import GatewaySettings
from app.uploads.form_schema import PICTURES, build_stylize_schema
from app.uploads.multipart import Form
from app.uploads.validate import RequestValidator
from model_store.catalogue import needed_by, shipped_entries
from tests.architecture.source import ROOT
from workers.settings import WorkerSettings
from workers.techniques import registry

PAGE = (ROOT / "docs" / "flux.md").read_text()
BLOCKS = re.findall(r"```(\w*)\n(.*?)```", PAGE, re.S)
CURLS = [block for _, block in BLOCKS if block.startswith("curl ")]
SERVED = {
    name: entry.base
    for name, entry in shipped_entries().items()
    if entry.base and entry.kind == "base" and name.startswith("flux")
}
ANY = "0" * 64


def validate(form: Form) -> None:
    offered = Capabilities(dict(sorted(SERVED.items(), key=lambda item: item[0] != "flux1-dev")))
    most = GatewaySettings.model_fields["gateway_max_cost"].default
    RequestValidator(offered, build_stylize_schema(offered), most).validate(form)


def form_of(fields: list[tuple[str, str]]) -> Form:
    form = Form()
    for name, value in fields:
        if name in PICTURES:
            form.stored.setdefault(name, []).append(ANY)
        else:
            form.texts[name] = value
    return form


@pytest.mark.parametrize("command", CURLS)
def test_the_gateway_takes_a_request_made_with_curl(command: str) -> None:
    words = shlex.split(command.replace("\\\n", " "))
    fields = [word.split("=", 1) for option, word in pairwise(words) if option == "-F"]
    assert words[-1] == "http://127.0.0.1:8000/v1/stylize"
    assert len(words) == 2 + 2 * len(fields)
    validate(form_of([(name, value) for name, value in fields]))


def test_the_gateway_takes_the_requests_of_the_client() -> None:
    [code] = [block for kind, block in BLOCKS if kind == "python"]
    calls = [node for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Call)]
    submits = [call for call in calls if isinstance(call.func, ast.Attribute) and call.func.attr == "submit"]
    assert len(submits) == len({registry.spec(call.args[0].value).name for call in submits}) + 1  # type: ignore[attr-defined]
    for call in submits:
        asked: dict[str, Any] = {str(keyword.arg): ast.literal_eval(keyword.value) for keyword in call.keywords}
        styles = [("style_image", file) for file in asked.pop("style_images", ())]
        texts = [(name, json.dumps(value) if name == "params" else str(value)) for name, value in asked.items()]
        validate(form_of([("method", ast.literal_eval(call.args[0])), *styles, *texts]))


def test_what_is_pulled_is_in_the_catalogue() -> None:
    pulls = re.findall(r"models pull --method (\S+) --model (\S+)", PAGE)
    assert pulls
    for method, model in pulls:
        assert shipped_entries()[model].base in registry.spec(method).bases
        assert model in needed_by(method, model)


def test_models_and_settings_that_are_named_are_there() -> None:
    assert set(re.findall(r"`(flux[12]-[\w-]+)`", PAGE)) - {"flux2-edit"} <= set(shipped_entries())
    settings = {f"STYLIZE_{name.upper()}" for name in (*WorkerSettings.model_fields, *GatewaySettings.model_fields)}
    assert set(re.findall(r"STYLIZE_[A-Z_]+", PAGE)) <= settings


def test_the_licences_are_those_of_the_catalogue() -> None:
    rows = re.findall(r"^\| (`flux.*?) \| (.*?) \| (yes|no) \|$", PAGE, re.M)
    told = {name: (terms, gated == "yes") for names, terms, gated in rows for name in re.findall(r"`(.*?)`", names)}
    known = {name: shipped_entries()[name].licence for name in told}
    assert told == {name: (licence.name, licence.gated) for name, licence in known.items()}
