"""From form to request: everything checked against the technique's spec, every default filled in."""

from collections.abc import Iterator, Mapping, Sequence
from hashlib import sha256
from typing import Any

from app.capabilities import Capabilities
from app.errors import Fault, Invalid
from app.uploads.cost import cost
from app.uploads.decoder.formats import check_formats
from app.uploads.fields import MAX_PIXELS, MAX_SEED, draw_seed
from app.uploads.form_schema import PICTURES, SINGLE_PICTURES, StylizeSchema
from app.uploads.multipart import Form
from app.uploads.params import parse_params
from model_store.catalogue.entry import SIZE_MULTIPLES, Base
from workers.contract.jobs.models import StylizeRequest
from workers.contract.spec import Defaults, Params, Spec
from workers.techniques import registry

UNNAMED = "0" * 64
"""Stands for a picture that is checked but not decoded yet."""


def with_pictures(request: StylizeRequest, names: Mapping[str, str]) -> StylizeRequest:
    """Return the request with its pictures' sha256, given by the pointer of each upload."""
    styles = tuple(names[f"#/style_image/{n}"] for n in range(len(request.style_images)))
    single = {name: names.get(f"#/{name}") for name in SINGLE_PICTURES}
    return request.model_copy(update={"style_images": styles, **single})


def digest_of(request: StylizeRequest, form: Form) -> str:
    """Return the sha256 of what the caller asked for: the same for a repeated request, however it was encoded."""
    asked = request.model_dump_json(exclude=None if "seed" in form.values else {"seed"})
    priority, webhook = form.values.get("priority", "interactive"), form.values.get("webhook_url")
    return sha256(f"{priority} {webhook or ''} {asked}".encode()).hexdigest()


class RequestValidator:
    """Checks forms against what the host offers; a request may cost `max_cost` at most."""

    def __init__(self, capabilities: Capabilities, schema: StylizeSchema, max_cost: float) -> None:
        self.schema = schema
        self.max_cost = max_cost
        self._capabilities = capabilities

    def fill_method(self, form: Form) -> None:
        """Put the host's default method into a form that names none; a recipe names its own."""
        if any(form.texts.get(name) for name in ("method", "recipe")) or form.files.get("recipe"):
            return
        model = form.texts.get("model", "")
        if model not in self._capabilities.bases:  # also one that is refused later, in better words
            model = self._capabilities.default_model
        content, mask = bool(form.count("content_image")), bool(form.count("mask_image"))
        references = form.count("style_image")
        if not mask or form.texts.get("style_id"):
            references = max(1, references)  # of a saved style any method takes some
        form.texts["method"] = self._capabilities.default_method(
            model, content=content, mask=mask, references=references
        )

    def validate(self, form: Form) -> StylizeRequest:
        """Return the request that a form asks for, its pictures yet unnamed. The form's `values` are those read.

        Raises Invalid naming all faults, or UnsupportedMedia.
        """
        values, faults = self._read(form)
        form.values = values
        spec = registry.spec(values["method"]) if "method" in values else None
        if spec is None:
            missing = [] if form.texts.get("method") else [Fault("#/method", "is required")]  # an empty recipe's
            raise Invalid.of([*missing, *faults])
        model = values.get("model", self._capabilities.default_model)
        defaults = self._capabilities.defaults_of(spec, model)
        params, params_faults = parse_params(form.texts.get("params", ""), spec)
        faults += params_faults
        counts = {name: form.count(name) for name in PICTURES}
        faults += _input_faults(counts, spec, params)
        if defaults is None:
            served = ", ".join(self._capabilities.models_of(spec)) or "none of the models served here"
            faults.append(Fault("#/model", f"{spec.name} does not run on {model}; it runs on {served}"))
        elif params is not None:
            faults += _params_faults(counts, params, self._capabilities.bases[model], faults)
        has_prompt = values.get("prompt", "").strip() or any(fault.pointer == "#/prompt" for fault in faults)
        if spec.inputs.driven_by == "text" and not has_prompt:
            faults.append(Fault("#/prompt", "is required"))
        if faults or params is None or defaults is None:
            raise Invalid.of(faults)
        request = _completed(counts, spec, model, values, params, defaults)
        _check_seeds(request)
        _check_sizes(request, spec, self.max_cost)
        _check_method_size(request, params, self._capabilities.bases[model])
        check_formats(form.uploads())
        return request

    def _read(self, form: Form) -> tuple[dict[str, Any], list[Fault]]:
        """Return the text fields' values and faults; an empty one, or one read as None, counts as absent."""
        values: dict[str, Any] = {}
        faults: list[Fault] = []
        for name, raw in form.texts.items():
            if not raw:
                continue
            try:
                value = self.schema.texts[name].read(raw)
            except ValueError as fault:
                faults.append(Fault(f"#/{name}", str(fault)))
            else:
                values |= {} if value is None else {name: value}
        return values, faults


def _input_faults(counts: Mapping[str, int], spec: Spec, params: Params | None) -> list[Fault]:
    """Return what is wrong with the number and kind of the pictures."""
    faults: list[Fault] = []
    least, most = spec.inputs.references
    styles = counts["style_image"]
    replaced = spec.inputs.instead_of_references
    if replaced and params is not None and getattr(params, replaced) is not None:
        least = 0
    if not least <= styles <= most:
        span = f"{most}" if least == most else f"{least} to {most}"
        images = "style image" if most == 1 else "style images"
        faults.append(Fault("#/style_image", f"{spec.name} takes {span} {images}, got {styles}"))
    has_content = bool(counts["content_image"])
    if spec.inputs.content_image == "required" and not has_content:
        faults.append(Fault("#/content_image", "is required"))
    if spec.inputs.content_image == "none" and has_content:
        faults.append(Fault("#/content_image", f"{spec.name} takes no content image"))
    has_mask = bool(counts["mask_image"])
    if has_mask and spec.inputs.mask_image == "none":
        faults.append(Fault("#/mask_image", f"{spec.name} takes no mask"))
    elif has_mask and not has_content:
        faults.append(Fault("#/mask_image", "needs the content image of which it says what is repainted"))
    elif spec.inputs.mask_image == "required" and not has_mask:
        faults.append(Fault("#/mask_image", "is required"))
    has_control, control = bool(counts["control_image"]), getattr(params, "control", None)
    if has_control and not spec.inputs.controls:
        faults.append(Fault("#/control_image", f"{spec.name} takes no control image"))
    elif has_control and params is not None and control is None:
        faults.append(Fault("#/params/control", f"is required with a control image: {', '.join(spec.inputs.controls)}"))
    elif control is not None and not (has_control or has_content):
        beside = " without a content image" if spec.inputs.content_image != "none" else ""
        faults.append(Fault("#/control_image", f"is required when params.control is given{beside}"))
    needed = spec.inputs.needs
    if needed and params is not None and getattr(params, needed) is None:
        faults.append(Fault(f"#/params/{needed}", f"is required: {spec.params.model_fields[needed].description}"))
    return faults


def _params_faults(counts: Mapping[str, int], params: Params, base: Base, known: Sequence[Fault]) -> Iterator[Fault]:
    """Yield what the parameters say against the pictures, but of fields with a fault already."""
    given = {name for name, count in counts.items() if count}
    told = {fault.pointer for fault in known}
    for pointer, detail in params.input_faults(given, base=base).items():
        if pointer not in told:
            yield Fault(pointer, detail)


def _completed(
    counts: Mapping[str, int], spec: Spec, model: str, values: Mapping[str, Any], params: Params, defaults: Defaults
) -> StylizeRequest:
    styles = counts["style_image"]
    weights = values.get("style_weights", (1.0,) * styles)
    if len(weights) != styles:
        raise Invalid.of([Fault("#/style_weights", f"must have one number per style image: {styles}")])
    asked = {
        name: values[name] for name in ("num_images", "output_format", "prompt", "negative_prompt") if name in values
    }
    preset = {name: values.get(name, value) for name, value in defaults}
    return StylizeRequest(
        method=spec.name,
        model=model,
        style_images=(UNNAMED,) * styles,
        style_weights=weights,
        **{name: UNNAMED if counts[name] else None for name in SINGLE_PICTURES},
        seed=values["seed"] if "seed" in values else draw_seed(),
        params=params.model_dump(mode="json"),
        **preset,
        **asked,
    )


def _check_seeds(request: StylizeRequest) -> None:
    """Raise Invalid unless each picture's seed can be asked for again."""
    most = MAX_SEED - request.num_images + 1
    if request.seed > most:
        detail = f"must be from 0 to {most} with num_images {request.num_images}: picture n has seed + n"
        raise Invalid.of([Fault("#/seed", detail)])


def _check_sizes(request: StylizeRequest, spec: Spec, max_cost: float) -> None:
    if request.width * request.height > MAX_PIXELS:
        raise Invalid.of([Fault("#/width", f"width x height must be at most {MAX_PIXELS} pixels")])
    price = cost(request, spec)
    if price > max_cost:
        detail = f"steps x num_images x size make this request cost {price:.0f}; at most {max_cost:.0f} is accepted"
        raise Invalid.of([Fault("#/steps", detail)])


def _check_method_size(request: StylizeRequest, params: Params, base: Base) -> None:
    """Raise Invalid for a size that the model, or the method, cannot draw; at strength 0 it draws plainly."""
    multiple = SIZE_MULTIPLES[base]
    sides = (("width", request.width), ("height", request.height))
    if uneven := [(name, side) for name, side in sides if side % multiple]:
        detail = f"must be a multiple of {multiple} on {request.model}, not"
        raise Invalid.of([Fault(f"#/{name}", f"{detail} {side}") for name, side in uneven])
    references = sum(weight > 0 for weight in request.style_weights)
    fault = params.size_fault(request.width, request.height, base=base, references=references)
    if fault and request.strength > 0:
        raise Invalid.of([Fault("#/width", fault)])
