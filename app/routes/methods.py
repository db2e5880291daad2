"""What can be asked for: the techniques and the base models."""

from fastapi import APIRouter

from app.deps import Services, With
from app.problems import documented
from app.schemas import MethodsView, MethodView, ModelsView, ModelView
from workers.techniques.spec import Spec

router = APIRouter(tags=["methods"])

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
async def read_methods(services: With) -> MethodsView:
    """Each technique with its parameters as JSON Schema, inputs, defaults, cost and terms."""
    able = await services.call(abilities, services)
    return MethodsView(methods=[method_view(spec, services, able) for spec in services.offer.specs])


@router.get("/models", summary="All models", responses=documented())
async def read_models(services: With) -> ModelsView:
    """The base models this host serves, the default first."""
    able = await services.call(abilities, services)
    offer = services.offer
    return ModelsView(
        models=[
            ModelView(id=model, base=base, default=model == offer.default_model, warm=model in able)
            for model, base in offer.bases.items()
        ]
    )


def method_view(spec: Spec, services: Services, able: Abilities) -> MethodView:
    """Return what callers see of a technique."""
    models = services.offer.models_of(spec)
    refusals = {model: able[model].get(spec.name, "") for model in models if model in able}
    shared = set(MethodView.model_fields) & set(type(spec).model_fields)
    return MethodView(
        **{name: getattr(spec, name) for name in shared - {"weights"}},
        aliases=[alias for alias, name in services.offer.aliases.items() if name == spec.name],
        parameters=spec.params_schema(),
        defaults=spec.bases,
        weights=list(spec.weights),
        models=models,
        available=[model for model, refusal in refusals.items() if not refusal],
        refusals={model: refusal for model, refusal in refusals.items() if refusal},
        warm=bool(refusals),
    )
