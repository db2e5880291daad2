"""Which references of a saved style a method draws with, and whether it still draws as when the style was saved."""

from app.errors import Fault, Invalid
from app.uploads.multipart import Form
from workers.contract.spec import Spec
from workers.contract.styles.store import Style, StyleReference
from workers.techniques import registry

FIELD = "style_id"


def fill_from_style(form: Form, style: Style) -> None:
    """Put the references of a style into the form that names it. Raises Invalid."""
    chosen = heaviest_references(style, _most(style, form.texts.get("method", "")))
    form.stored["style_image"] = [reference.sha256 for reference in chosen]
    if not form.texts.get("style_weights"):
        form.texts["style_weights"] = ",".join(str(reference.weight) for reference in chosen)


def heaviest_references(style: Style, most: int) -> list[StyleReference]:
    """Return the references that count most, in the style's own order: as many as a method takes."""
    ranked = sorted(enumerate(style.references), key=lambda pair: -pair[1].weight)
    return [style.references[n] for n in sorted(n for n, _ in ranked[:most])]


def version_conflict(style: Style, spec: Spec) -> str:
    """Return why a technique would draw a style otherwise than when it was saved; empty when it would not."""
    saved = style.versions.get(spec.name, 1)  # a technique that came later: its first version
    if saved == spec.version:
        return ""
    return f"was saved for version {saved} of {spec.name}, which is now version {spec.version}; save it again"


def _most(style: Style, method: str) -> int:
    """Return how many references a method takes. Raises Invalid when it draws otherwise by now."""
    try:
        spec = registry.spec(method)
    except KeyError:  # no such method, which the form's own check says better
        return len(style.references)
    if detail := version_conflict(style, spec):
        raise Invalid.of([Fault(f"#/{FIELD}", detail)])
    return spec.inputs.references[1] or len(style.references)
