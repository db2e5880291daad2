"""Callers' own styles: looked at, deleted."""

from app.errors import NotFound
from app.schemas.style import StylesView, StyleView
from app.services.styles.precompute import PrecomputeService
from app.services.styles.view import StyleViews
from app.storage.redis_calls import RedisCalls
from workers.contract.styles.store import Style, StyleStore


class StyleService:
    """Reads and deletes styles."""

    def __init__(self, styles: StyleStore, views: StyleViews, precompute: PrecomputeService, calls: RedisCalls) -> None:
        self._styles = styles
        self._views = views
        self._precompute = precompute
        self._calls = calls

    async def get(self, style_id: str, owner: str) -> Style:
        """Return an owner's style. Raises NotFound."""
        style = await self._calls.call(self._styles.get, style_id, owner)
        if style is None:
            raise NotFound("there is no such style")
        return style

    async def get_view(self, style: Style) -> StyleView:
        """Return what callers see of a style now."""
        return (await self._calls.call(self._views.build, [style]))[0]

    async def get_page(self, owner: str, *, limit: int, cursor: str | None) -> StylesView:
        """Return a page of an owner's styles, newest first."""

        def look() -> StylesView:
            styles, following = self._styles.page(owner, limit=limit, cursor=cursor)
            return StylesView(styles=self._views.build(styles), cursor=following)

        return await self._calls.call(look)

    async def delete(self, style_id: str, owner: str) -> None:
        """Delete a style and cancel what still prepares it. Raises NotFound."""
        style = await self.get(style_id, owner)
        await self._calls.call(self._precompute.cancel, style)
        if not await self._calls.call(self._styles.delete, style_id, owner):
            raise NotFound("there is no such style")
