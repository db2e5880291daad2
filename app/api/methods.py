"""What can be asked for: the techniques and the base models."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends
from fastapi import Path as PathParameter
from starlette.responses import Response

from app.api.conditional import NOT_MODIFIED, IfNoneMatch, document_response
from app.api.problems import problem_docs
from app.capabilities import Capabilities
from app.dependencies import CallsDep, CapabilitiesDep, SettingsDep, StoreDep, caller
from app.errors import Invalid, NotFound, Unavailable
from app.schemas.catalogue import (
    InstalledModelView,
    LicenceView,
    MethodsView,
    MethodView,
    ModelsView,
    ModelView,
    NamedModelView,
    RecommendationView,
)
from app.services.model_status import ModelStatus, installed_models, served_models
from model_store.catalogue.entry import PROMPT_TOKENS, SIZE_MULTIPLES
from model_store.catalogue.evaluation import MethodFigures
from model_store.errors import ModelStoreError
from workers.contract.jobs.results import WorkerStatus
from workers.contract.spec import Spec

router = APIRouter(tags=["methods"], dependencies=[Depends(caller)])

SOURCES: tuple[tuple[bool, Literal["text", "content_image"]], ...] = ((False, "text"), (True, "content_image"))
Abilities = dict[str, dict[str, str]]


def abilities(workers: Sequence[WorkerStatus]) -> Abilities:
    """Return what the workers have ready: by base model and method why it cannot run there, empty when it can.

    A method that one worker can run is not held up by another that cannot.
    """
    able: Abilities = {}
    for worker in workers:
        for model, methods in worker.methods.items():
            known = able.setdefault(model, {})
            for method, refusal in methods.items():
                known[method] = refusal and known.get(method, refusal)
    return able


@router.get(
    "/methods", summary="All methods", response_model=MethodsView, responses=problem_docs(Invalid) | NOT_MODIFIED
)
async def read_methods(
    capabilities: CapabilitiesDep, store: StoreDep, calls: CallsDep, if_none_match: IfNoneMatch = None
) -> Response:
    """Each technique with its parameters as JSON Schema, inputs, defaults, cost and terms."""
    able = abilities(await calls.call(store.workers))
    view = MethodsView(methods=[method_view(spec, capabilities, able) for spec in capabilities.specs])
    return document_response(view.model_dump_json(), if_none_match)


@router.get("/models", summary="All models", response_model=ModelsView, responses=problem_docs(Invalid) | NOT_MODIFIED)
async def read_models(
    capabilities: CapabilitiesDep,
    settings: SettingsDep,
    store: StoreDep,
    calls: CallsDep,
    if_none_match: IfNoneMatch = None,
) -> Response:
    """The base models this host serves, the default first, and what is installed beside them.

    At `/v1/models` OpenAI's clients find in `data` what they may name as `model`.
    """
    workers = await calls.call(store.workers)
    try:
        view = await calls.call(models_view, capabilities, settings.model_dir, workers)
    except ModelStoreError as fault:
        raise Unavailable("the model store cannot be read; see the gateway's log") from fault
    return document_response(view.model_dump_json(), if_none_match)


@router.get("/models/{model}", summary="One model", responses=problem_docs(NotFound, Invalid))
async def read_model(
    model: Annotated[str, PathParameter(max_length=100)], capabilities: CapabilitiesDep
) -> NamedModelView:
    """A base model or method, as OpenAI's clients ask for it; the rest is in `GET /models` and `GET /methods`."""
    for named in named_models(capabilities):
        if named.id == model:
            return named
    raise NotFound("no such model is served")


def named_models(capabilities: Capabilities) -> list[NamedModelView]:
    """Return what a request may name as OpenAI's `model`: the served base models, and the methods that run on one."""
    methods = (spec.name for spec in capabilities.specs if capabilities.models_of(spec))
    return [NamedModelView(id=name) for name in (*capabilities.bases, *methods)]


def models_view(capabilities: Capabilities, folder: Path, workers: Sequence[WorkerStatus]) -> ModelsView:
    """Return what callers see of the model store. Raises ModelStoreError."""
    return ModelsView(
        data=named_models(capabilities),
        models=[
            ModelView(
                **_model_fields(one),
                default=one.entry.id == capabilities.default_model,
                warm=one.state == "warm",
                notes=one.entry.notes,
                knows=one.entry.knows,
                size_multiple=SIZE_MULTIPLES[capabilities.bases[one.entry.id]],
                prompt_tokens=one.entry.base and PROMPT_TOKENS.get(one.entry.base),
            )
            for one in served_models(capabilities.bases, folder, workers)
        ],
        adapters=[InstalledModelView(**_model_fields(one)) for one in installed_models(folder)],
    )


def _model_fields(one: ModelStatus) -> dict[str, Any]:
    entry = {name: getattr(one.entry, name) for name in ("id", "kind", "title", "base", "licence")}
    return {
        **entry,
        "state": one.state,
        "bytes": one.size,
        "command": one.command or None,
        "reason": one.reason or None,
    }


def method_view(spec: Spec, capabilities: Capabilities, able: Abilities) -> MethodView:
    """Return what callers see of a technique."""
    models = capabilities.models_of(spec)
    refusals = {model: able[model].get(spec.name, "") for model in models if model in able}
    shared = set(MethodView.model_fields) & set(type(spec).model_fields)
    return MethodView(
        **{name: getattr(spec, name) for name in shared - {"weights"}},
        aliases=[alias for alias, name in capabilities.aliases.items() if name == spec.name],
        parameters=spec.params_schema(),
        defaults=spec.bases,
        weights=list(spec.weights),
        terms=[
            LicenceView(id=entry.id, kind=entry.kind, licence=entry.licence)
            for entry in capabilities.weights[spec.name]
        ],
        models=models,
        available=[model for model, refusal in refusals.items() if not refusal],
        refusals={model: refusal for model, refusal in refusals.items() if refusal},
        warm=bool(refusals),
        recommended=recommendations(spec, capabilities),
    )


def recommendations(spec: Spec, capabilities: Capabilities) -> list[RecommendationView]:
    """Return the served models whose best measured method a technique is, from a text and with a content image."""
    found = []
    for model in capabilities.models_of(spec):
        for content, source in SOURCES:
            best = capabilities.best_measured(model, content=content)
            if best is not None and best.method == spec.name:
                found.append(_recommendation(model, source, best))
    return found


def _recommendation(model: str, source: Literal["text", "content_image"], best: MethodFigures) -> RecommendationView:
    similarity, accuracy = best.style_similarity.mean, best.content_accuracy.mean
    given = "a text" if source == "text" else "a content image"
    reason = f"best measured from {given}: style similarity {similarity:.2f}, content accuracy {accuracy:.2f}"
    return RecommendationView(
        model=model, input=source, reason=reason, style_similarity=similarity, content_accuracy=accuracy
    )
