"""What can be asked for: the techniques and the base models."""

from fastapi import APIRouter

from app.deps import Services, With
from app.problems import documented
from app.schemas import MethodsView, MethodView, ModelsView, ModelView
from workers.techniques.spec import Spec

router = APIRouter(tags=["methods"])


def warm_models(services: Services) -> set[str]:
    """Return the base models that some worker has ready."""
    return {model for worker in services.store.workers() for model in worker.models}


@router.get("/methods", summary="All methods", responses=documented())
async def read_methods(services: With) -> MethodsView:
    """Each technique with its parameters as JSON Schema, inputs, defaults, cost and terms."""
    warm = await services.call(warm_models, services)
    return MethodsView(methods=[method_view(spec, services, warm) for spec in services.offer.specs])


@router.get("/models", summary="All models", responses=documented())
async def read_models(services: With) -> ModelsView:
    """The base models this host serves, the default first."""
    warm = await services.call(warm_models, services)
    offer = services.offer
    return ModelsView(
        models=[
            ModelView(id=model, base=base, default=model == offer.default_model, warm=model in warm)
            for model, base in offer.bases.items()
        ]
    )


def method_view(spec: Spec, services: Services, warm: set[str]) -> MethodView:
    """Return what callers see of a technique."""
    models = services.offer.models_of(spec)
    shared = set(MethodView.model_fields) & set(type(spec).model_fields)
    return MethodView(
        **{name: getattr(spec, name) for name in shared - {"weights"}},
        aliases=[alias for alias, name in services.offer.aliases.items() if name == spec.name],
        parameters=spec.params_schema(),
        defaults=spec.bases,
        weights=list(spec.weights),
        models=models,
        available=bool(models),
        warm=not warm.isdisjoint(models),
    )
