"""Pictures that a form names instead of sending them: those of a recipe or of a saved style."""

from collections.abc import Mapping
from dataclasses import dataclass

from app.errors import Fault, Invalid
from app.services.styles.references import FIELD, fill_from_style
from app.storage.redis_calls import RedisCalls
from app.uploads import recipe
from app.uploads.decoder.pool import Decoder
from app.uploads.form_schema import FormSchema
from app.uploads.multipart import Form
from workers.contract.blobs.names import Sha256
from workers.contract.jobs.store import JobStore
from workers.contract.styles.store import StyleStore

Names = Mapping[str, Sha256]
"""sha256 of stored pictures by the pointer of their field."""


@dataclass(frozen=True)
class StoredInputs:
    """Finds the stored pictures of forms; `schema` tells where a form has its fields."""

    store: JobStore
    styles: StyleStore
    decoder: Decoder
    schema: FormSchema
    calls: RedisCalls

    async def resolve(self, form: Form, owner: str) -> Names:
        """Fill a form from its recipe or saved style and return the stored pictures that it uses.

        Raises Invalid naming those that are no longer there, or were never the caller's; Unavailable.
        """
        if both := [name for name in form.stored if form.files.get(name)]:
            raise Invalid.of([Fault(f"#/{name}", "send files or name stored pictures, not both") for name in both])
        named = set(form.stored)
        if form.texts.get(recipe.FIELD) or form.files.get(recipe.FIELD):
            await recipe.apply(form, self.decoder)
        if style_id := form.texts.pop(FIELD, ""):
            await self._apply_style(form, style_id, owner)
        if not form.stored:
            return {}
        everything = [sha256 for names in form.stored.values() for sha256 in names]
        absent = await self.calls.call(self.store.unused, everything, owner)
        faults = [
            Fault(
                self.schema.pointer(field, n) if field in named else _place_in_recipe(field, n),
                f"{sha256} is not stored any more; send the picture as {field}",
            )
            for field, names in form.stored.items()
            for n, sha256 in enumerate(names)
            if sha256 in absent
        ]
        if faults:
            raise Invalid.of(faults)
        return {
            self.schema.pointer(field, n): sha256
            for field, names in form.stored.items()
            for n, sha256 in enumerate(names)
        }

    async def _apply_style(self, form: Form, style_id: str, owner: str) -> None:
        """Put the references of the style that a form names into the form. Raises Invalid."""
        if form.count("style_image"):
            raise Invalid.of([Fault(f"#/{FIELD}", "give style images or a saved style, not both")])
        style = await self.calls.call(self.styles.get, style_id, owner)
        if style is None:
            raise Invalid.of([Fault(f"#/{FIELD}", "there is no such style")])
        fill_from_style(form, style)


def _place_in_recipe(field: str, n: int) -> str:
    return f"#/recipe/{recipe.PICTURES[field]}" + (f"/{n}" if field == "style_image" else "")
