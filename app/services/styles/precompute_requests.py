"""What can be prepared of a style: a request without pictures for each method and model."""

from collections.abc import Sequence
from dataclasses import dataclass

from app.capabilities import Capabilities
from app.errors import Fault, Invalid
from app.services.styles.references import heaviest_references, version_conflict
from app.uploads.cost import check_total, cost
from workers.contract.jobs.models import PrecomputeRequest
from workers.contract.spec import Spec
from workers.contract.styles.store import Style
from workers.techniques import registry


def name_of(request: PrecomputeRequest) -> str:
    """Return the name of its newest job among those of its style."""
    return f"{request.method} {request.model}"


@dataclass(frozen=True)
class PrecomputeRequests:
    """Builds the requests that prepare styles on this host; those of one call may cost `max_cost` together."""

    capabilities: Capabilities
    max_cost: float

    def build_all(self, style: Style) -> list[PrecomputeRequest]:
        """Return all preparations of a style that this host can do."""
        specs = self.capabilities.specs
        fitting = (spec for spec in specs if spec.inputs.references[1] and not version_conflict(style, spec))
        return [self._build(style, spec, model) for spec in fitting for model in self.capabilities.models_of(spec)]

    def build(self, style: Style, methods: Sequence[str], model: str | None, pointer: str) -> list[PrecomputeRequest]:
        """Return the preparations of a style for some methods on a model. Raises Invalid naming all that cannot be."""
        chosen = model or self.capabilities.default_model
        if chosen not in self.capabilities.bases:
            raise Invalid.of([Fault("#/model", f"must be one of {', '.join(self.capabilities.bases)}")])
        found: dict[str, PrecomputeRequest] = {}
        faults = []
        for method in methods:
            try:
                one = self._build_checked(style, method, chosen)
                found[name_of(one)] = one
            except ValueError as impossible:
                faults.append(Fault(pointer, str(impossible)))
        if not methods:
            faults.append(Fault(pointer, "is required: the methods to prepare the style for"))
        if faults:
            raise Invalid.of(faults)
        check_total(list(found.values()), self.max_cost, pointer)
        return list(found.values())

    def _build_checked(self, style: Style, method: str, model: str) -> PrecomputeRequest:
        """Return one preparation. Raises ValueError saying why it cannot be."""
        capabilities = self.capabilities
        try:
            spec = registry.spec(method)
        except KeyError:
            raise ValueError(f"must be among {', '.join((*registry.names(), *capabilities.aliases))}") from None
        if not spec.inputs.references[1]:
            raise ValueError(f"{spec.name} takes no style image: there is nothing to prepare")
        if conflict := version_conflict(style, spec):
            raise ValueError(conflict)
        if model not in capabilities.models_of(spec):
            served = ", ".join(capabilities.models_of(spec)) or "none of the models served here"
            raise ValueError(f"{spec.name} does not run on {model}; it runs on {served}")
        one = self._build(style, spec, model)
        if (price := cost(one, spec)) > self.max_cost:
            raise ValueError(f"preparing {spec.name} costs {price:.0f}; at most {self.max_cost:.0f} is accepted")
        return one

    def _build(self, style: Style, spec: Spec, model: str) -> PrecomputeRequest:
        """Return the preparation of a style for a technique on a model that it runs on."""
        defaults = self.capabilities.defaults_of(spec, model)
        assert defaults is not None
        references = heaviest_references(style, spec.inputs.references[1])
        return PrecomputeRequest(
            method=spec.name,
            model=model,
            style_images=tuple(reference.sha256 for reference in references),
            style_weights=tuple(reference.weight for reference in references),
            seed=0,
            params=spec.params().model_dump(mode="json"),
            **dict(defaults),
        )
