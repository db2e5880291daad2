"""The price of a request, known before it is accepted: UNet evaluations of one 512 x 512 picture."""

import json
from collections.abc import Sequence

from app.errors import Fault, Invalid
from workers.contract.jobs.models import GenerationRequest, StylizeRequest
from workers.contract.spec import Spec
from workers.techniques import registry

UNIT_PIXELS = 512 * 512


def cost(request: GenerationRequest, spec: Spec) -> float:
    """Return what a request costs when nothing is cached: steps x passes x pixels."""
    passes = 0.0
    if isinstance(request, StylizeRequest):
        params = spec.params.model_validate_json(json.dumps(request.params))
        passes += spec.cost.row_passes * params.row_factor() * request.num_images
        passes += spec.cost.content_passes * (request.content_image is not None)
    passes += spec.cost.style_passes * len(request.style_images)
    return passes * request.steps * request.width * request.height / UNIT_PIXELS


def check_total(requests: Sequence[GenerationRequest], most: float, pointer: str) -> None:
    """Raise Invalid when the jobs that one call asks for cost too much together."""
    total = sum(cost(request, registry.spec(request.method)) for request in requests)
    if total > most:
        detail = f"{len(requests)} jobs cost {total:.0f} together; at most {most:.0f} is accepted"
        raise Invalid.of([Fault(pointer, detail)])
