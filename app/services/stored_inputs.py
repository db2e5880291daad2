"""Pictures that a form names instead of sending them: those of a recipe or of a saved style."""

from collections.abc import Iterable, Mapping

from app.dependencies import Services
from app.errors import Fault, Invalid
from app.services import styles
from app.uploads import recipe
from app.uploads.multipart import Form
from workers.contract.blobs import input_name, read_input
from workers.contract.blobs.names import Sha256
from workers.contract.errors import BlobDamaged, BlobMissing

Names = Mapping[str, Sha256]
"""sha256 of stored pictures by the pointer of their field."""


async def resolve(services: Services, form: Form, owner: str) -> Names:
    """Fill a form from its recipe or saved style and return the stored pictures that it uses.

    Raises Invalid naming those that are no longer there, or were never the caller's; Unavailable.
    """
    await recipe.apply(form, services.decoder)
    await styles.apply(services, form, owner)
    if not form.stored:
        return {}
    absent = await services.call(
        services.store.unused, [sha256 for names in form.stored.values() for sha256 in names], owner
    )
    faults = [
        Fault(
            f"#/recipe/{recipe.PICTURES[field]}" + (f"/{n}" if field == "style_image" else ""),
            f"{sha256} is not stored any more; send the picture as {field}",
        )
        for field, names in form.stored.items()
        for n, sha256 in enumerate(names)
        if sha256 in absent
    ]
    if faults:
        raise Invalid.of(faults)
    return {
        services.capabilities.schema.pointer(field, n): sha256
        for field, names in form.stored.items()
        for n, sha256 in enumerate(names)
    }


def touch(services: Services, names: Iterable[tuple[str, Sha256]]) -> None:
    """Make stored pictures as young as those just sent, so that no sweep takes them. Raises Invalid."""
    for pointer, sha256 in names:
        try:
            services.blobs.put(input_name(sha256), read_input(services.blobs, sha256), content_type="image/png")
        except BlobMissing as gone:
            raise Invalid.of([Fault(pointer, f"{sha256} is not stored any more")]) from gone
        except BlobDamaged as damaged:
            raise Invalid.of([Fault(pointer, f"{sha256} is damaged where it is stored; send it again")]) from damaged
