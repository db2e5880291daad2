"""What callers see of a saved style, and what a form that names one gets from it."""

from app.auth.signed_urls import Links
from app.dependencies import Services
from app.errors import Fault, Invalid
from app.schemas.style import PrecomputeView, StyleLinksView, StyleView
from app.uploads.multipart import Form
from workers.contract.spec import Spec
from workers.contract.styles.store import Style, StyleReference
from workers.techniques import registry

FIELD = "style_id"


def style_view(style: Style, links: Links, prepared: list[PrecomputeView]) -> StyleView:
    """Return what callers see of a style, and for which methods it is prepared."""
    address = f"{links.public_url}/styles/{style.id}"
    shown = StyleLinksView(self=address, precompute=f"{address}/precompute")
    return StyleView(**style.model_dump(exclude={"owner"}), prepared=prepared, links=shown)


async def apply(services: Services, form: Form, owner: str) -> None:
    """Put the references of the style that a form names, if any, into the form. Raises Invalid."""
    style_id = form.texts.pop(FIELD, "")
    if not style_id:
        return
    if form.files.get("style_image"):
        raise Invalid.of([Fault("#/style_id", "give style images or a saved style, not both")])
    style = await services.call(services.styles.get, style_id, owner)
    if style is None:
        raise Invalid.of([Fault("#/style_id", "there is no such style")])
    chosen = used(style, _most(style, form.texts.get("method", "")))
    form.stored["style_image"] = [reference.sha256 for reference in chosen]
    if not form.texts.get("style_weights"):
        form.texts["style_weights"] = ",".join(str(reference.weight) for reference in chosen)


def _most(style: Style, method: str) -> int:
    """Return how many references a method takes. Raises Invalid when it draws otherwise by now."""
    try:
        spec = registry.spec(method)
    except KeyError:  # no such method, which the form's own check says better
        return len(style.references)
    if detail := outdated(style, spec):
        raise Invalid.of([Fault("#/style_id", detail)])
    return spec.inputs.references[1] or len(style.references)


def outdated(style: Style, spec: Spec) -> str:
    """Return why a technique would draw a style otherwise than when it was saved; empty when it would not."""
    saved = style.versions.get(spec.name, 1)  # a technique that came later: its first version
    if saved == spec.version:
        return ""
    return f"was saved for version {saved} of {spec.name}, which is now version {spec.version}; save it again"


def used(style: Style, most: int) -> list[StyleReference]:
    """Return the references that count most, in the style's own order: as many as a method takes."""
    ranked = sorted(enumerate(style.references), key=lambda pair: -pair[1].weight)
    return [style.references[n] for n in sorted(n for n, _ in ranked[:most])]
