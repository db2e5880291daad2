"""What can be asked for: the techniques and the base models."""

from typing import Any

from fastapi import APIRouter, Depends

from app.api.problems import documented
from app.dependencies import GatewayDep, Services, caller
from app.errors import Unavailable
from app.schemas.job import InstalledModelView, LicenceView, MethodsView, MethodView, ModelsView, ModelView
from app.services import model_status
from app.services.model_status import ModelStatus
from model_store.errors import ModelStoreError
from workers.contract.spec import Spec

router = APIRouter(tags=["methods"], dependencies=[Depends(caller)])

Abilities = dict[str, dict[str, str]]


def abilities(services: Services) -> Abilities:
    """Return what the workers have ready: by base model and method why it cannot run there, empty when it can.

    A method that one worker can run is not held up by another that cannot.
    """
    able: Abilities = {}
    for worker in services.store.workers():
        for model, methods in worker.methods.items():
            known = able.setdefault(model, {})
            for method, refusal in methods.items():
                known[method] = refusal and known.get(method, refusal)
    return able


@router.get("/methods", summary="All methods", responses=documented())
async def read_methods(services: GatewayDep) -> MethodsView:
    """Each technique with its parameters as JSON Schema, inputs, defaults, cost and terms."""
    able = await services.call(abilities, services)
    return MethodsView(methods=[method_view(spec, services, able) for spec in services.capabilities.specs])


@router.get("/models", summary="All models", responses=documented())
async def read_models(services: GatewayDep) -> ModelsView:
    """The base models this host serves, the default first, and what is installed beside them."""
    try:
        return await services.call(models_view, services)
    except ModelStoreError as fault:
        raise Unavailable("the model store cannot be read; see the gateway's log") from fault


def models_view(services: Services) -> ModelsView:
    """Return what callers see of the store. Raises ModelStoreError."""
    capabilities, store = services.capabilities, services.settings.model_dir
    served = model_status.of_served(capabilities.bases, store, services.store.workers())
    return ModelsView(
        models=[
            ModelView(**_stored(one), default=one.entry.id == capabilities.default_model, warm=one.state == "warm")
            for one in served
        ],
        adapters=[InstalledModelView(**_stored(one)) for one in model_status.of_installed(store)],
    )


def _stored(one: ModelStatus) -> dict[str, Any]:
    described = {name: getattr(one.entry, name) for name in ("id", "kind", "title", "base", "licence")}
    return {
        **described,
        "state": one.state,
        "bytes": one.size,
        "command": one.command or None,
        "reason": one.reason or None,
    }


def method_view(spec: Spec, services: Services, able: Abilities) -> MethodView:
    """Return what callers see of a technique."""
    models = services.capabilities.models_of(spec)
    refusals = {model: able[model].get(spec.name, "") for model in models if model in able}
    shared = set(MethodView.model_fields) & set(type(spec).model_fields)
    return MethodView(
        **{name: getattr(spec, name) for name in shared - {"weights"}},
        aliases=[alias for alias, name in services.capabilities.aliases.items() if name == spec.name],
        parameters=spec.params_schema(),
        defaults=spec.bases,
        weights=list(spec.weights),
        terms=[
            LicenceView(id=entry.id, kind=entry.kind, licence=entry.licence)
            for entry in services.capabilities.weights[spec.name]
        ],
        models=models,
        available=[model for model, refusal in refusals.items() if not refusal],
        refusals={model: refusal for model, refusal in refusals.items() if refusal},
        warm=bool(refusals),
    )
