"""The rehearsal: one step of every technique before the worker says it is warm.

It loads adapters, builds kernels, and finds out which techniques this worker can run and why not the others.
"""

import logging
from collections.abc import Iterator, Mapping
from pathlib import Path

from PIL import Image
from pydantic import JsonValue

from model_store.catalogue import base_of, entry_of
from model_store.catalogue.entry import Base, Entry
from workers.contract.jobs.models import Progress, StylizeRequest
from workers.contract.spec import Spec
from workers.engine import device
from workers.engine.engine import DiffusionEngine
from workers.engine.errors import DeviceLost, Refused
from workers.engine.types import Pictures
from workers.techniques import registry

log = logging.getLogger(__name__)

SEED = 0


def rehearse(engine: DiffusionEngine, model: str, store: Path) -> dict[str, str]:
    """Return why a technique cannot run on the model with its default parameters; empty text for those that can.

    Raises DeviceLost.

    `store` is the folder of the model store, which knows the operator's own models.
    """
    entry, base = entry_of(model, store), base_of(model, store)
    return {spec.name: _refusal(engine, entry, base, spec) for spec in _fitting(base)}


def _fitting(base: Base) -> Iterator[Spec]:
    specs = (registry.spec(name) for name in registry.names())
    return (spec for spec in specs if base in spec.bases)


def _refusal(engine: DiffusionEngine, model: Entry, base: Base, spec: Spec) -> str:
    try:
        params = _params(base, spec)
        engine.stylize(_request(model, base, spec, params), _pictures(model, spec, params), watch=_never_stop)
    except Refused as refusal:
        log.info("%s is not available on %s: %s", spec.name, model.id, refusal)
        return str(refusal)
    except Exception as fault:
        if isinstance(lost := device.verdict(fault), DeviceLost):
            raise lost from fault
        log.exception("%s failed its rehearsal on %s", spec.name, model.id)
        return "it failed when the worker started; see the worker's log"
    return ""


def _params(base: Base, spec: Spec) -> Mapping[str, JsonValue]:
    """Return no parameters, but a control where the model follows nothing but maps."""
    needed = "#/params/control" in spec.params().input_faults((), base=base)
    return {"control": spec.inputs.controls[0]} if needed else {}


def _request(model: Entry, base: Base, spec: Spec, params: Mapping[str, JsonValue]) -> StylizeRequest:
    defaults = spec.bases[base]
    side = model.native_size or defaults.width
    return StylizeRequest(
        method=spec.name,
        model=model.id,
        prompt="a house",
        seed=SEED,
        width=side,
        height=side,
        steps=1,
        guidance_scale=defaults.guidance_scale,
        strength=defaults.strength,
        params=dict(params),
    )


def _pictures(model: Entry, spec: Spec, params: Mapping[str, JsonValue]) -> Pictures:
    side = model.native_size or 512
    picture = Image.linear_gradient("L").resize((side, side)).convert("RGB")
    content = picture if spec.inputs.content_image == "required" else None
    least, most = spec.inputs.references
    return Pictures(
        styles=(picture,) * min(max(1, least), most),
        content=content,
        control=picture if params else None,
        mask=picture.convert("L") if content and spec.inputs.mask_image != "none" else None,
    )


def _never_stop(_: Progress) -> None:
    pass
