"""Callers' own styles: looked at, deleted."""

from dataclasses import dataclass

from app.errors import NotFound
from app.schemas.style import StylesView, StyleView
from app.services.styles.precompute import PrecomputeService
from app.services.styles.view import StyleViews
from app.storage.redis_calls import RedisCalls
from workers.contract.styles.store import Style, StyleStore


@dataclass(frozen=True)
class StyleService:
    """Reads and deletes styles."""

    styles: StyleStore
    views: StyleViews
    precompute: PrecomputeService
    calls: RedisCalls

    async def get(self, style_id: str, owner: str) -> Style:
        """Return an owner's style. Raises NotFound."""
        style = await self.calls.call(self.styles.get, style_id, owner)
        if style is None:
            raise NotFound("there is no such style")
        return style

    async def get_view(self, style: Style) -> StyleView:
        """Return what callers see of a style now."""
        return (await self.calls.call(self.views.build, [style]))[0]

    async def get_page(self, owner: str, *, limit: int, cursor: str | None) -> StylesView:
        """Return a page of an owner's styles, newest first."""

        def look() -> StylesView:
            styles, following = self.styles.page(owner, limit=limit, cursor=cursor)
            return StylesView(styles=self.views.build(styles), cursor=following)

        return await self.calls.call(look)

    async def delete(self, style_id: str, owner: str) -> None:
        """Delete a style and cancel what still prepares it. Raises NotFound."""
        style = await self.get(style_id, owner)
        await self.calls.call(self.precompute.cancel, style)
        if not await self.calls.call(self.styles.delete, style_id, owner):
            raise NotFound("there is no such style")
