"""The client needs nothing of the service, and yet says what the service says."""

import ast
import re
import sys
import tomllib
from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import BaseModel
from stylize_client import (
    AsyncClient,
    Client,
    ComparisonView,
    JobState,
    JobsView,
    JobView,
    MethodsView,
    StylesView,
    StylizeFields,
)
from stylize_client.forms import FILES, HEADERS
from stylize_client.models import Answer
from stylize_client.operations import Operations

from app.schemas import catalogue, comparison, job, style
from app.uploads.fields import fields
from workers.contract.jobs.models import State

ROOT = Path(__file__).parents[4]
CLIENT = ROOT / "app" / "client"
DOCUMENTS = [
    (JobView, job.JobView),
    (JobsView, job.JobsView),
    (MethodsView, catalogue.MethodsView),
    (StylesView, style.StylesView),
    (ComparisonView, comparison.ComparisonView),
]


def imported(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names.add(str(node.module).partition(".")[0])
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 1, f"{path.name} reaches out of the package"
    return names


def test_it_imports_itself_httpx2_and_pydantic_only() -> None:
    names = {name for path in CLIENT.rglob("*.py") for name in imported(path)}
    assert names - sys.stdlib_module_names == {"httpx2", "pydantic"}


def test_its_distribution_is_of_the_services_release_and_needs_no_more() -> None:
    project = tomllib.loads((CLIENT / "pyproject.toml").read_text())["project"]
    service = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["version"] == service["version"]
    assert project["license"] == service["license"]
    assert project["requires-python"] == service["requires-python"].partition(",")[0]
    assert project["dependencies"] == ["httpx2>=2", "pydantic>=2.12,<3"]


def test_each_operation_is_written_once_and_named_in_its_readme() -> None:
    public = {name for name in vars(Operations) if not name.startswith("_")}
    for client in (Client, AsyncClient):
        assert {name for name in vars(client) if not name.startswith("_")} == {"close", "run"}
    table = (CLIENT / "README.md").read_text().partition("|---|")[2].partition("\n\n")[0]
    named = [name for line in table.splitlines()[1:] for name in re.findall(r"`(\w+)`", line.split("|")[1])]
    assert sorted(named) == sorted(public)


def models_of(annotation: Any) -> list[type[BaseModel]]:
    """Return the models that an annotation names, in their order."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for argument in get_args(annotation) for model in models_of(argument)]


def disagreements(ours: type[BaseModel], theirs: type[BaseModel]) -> list[str]:
    """Return where a model of the client and one of the service have other fields."""
    other = ours.model_fields.keys() ^ theirs.model_fields.keys()
    found = [f"{ours.__name__}.{name}" for name in sorted(other)]
    for name in ours.model_fields.keys() & theirs.model_fields.keys():
        pair = models_of(ours.model_fields[name].annotation), models_of(theirs.model_fields[name].annotation)
        assert len(pair[0]) == len(pair[1]), f"{ours.__name__}.{name}"
        found += [line for one, another in zip(*pair, strict=True) for line in disagreements(one, another)]
    return found


@pytest.mark.parametrize(("ours", "theirs"), DOCUMENTS, ids=lambda model: model.__name__)
def test_its_models_have_the_fields_of_the_services_documents(ours: type[Answer], theirs: type[BaseModel]) -> None:
    assert disagreements(ours, theirs) == []


def test_it_knows_every_state_of_a_job() -> None:
    assert {state.value: state.final for state in JobState} == {state.value: state.final for state in State}


def test_it_takes_every_field_of_a_request() -> None:
    texts = fields(("signal-leak",), ("tiny-sd15",)).keys() - {"method", "recipe"}
    assert StylizeFields.__annotations__.keys() == texts | FILES.keys() | HEADERS.keys()
