"""The Python client: `Client` blocks, `AsyncClient` awaits; both say the same.

    with Client("http://127.0.0.1:8000") as stylize:
        job = stylize.submit("instantstyle", prompt="a house by a lake", style_images=["style.png"], seed=7)
        done = stylize.wait(job)
        stylize.download(done, "out")

All verbs raise the errors of `app.client.errors`.
"""

from app.client.async_client import AsyncClient
from app.client.group_operations import Lists
from app.client.http import LOCAL, unseen
from app.client.sync_client import Client

__all__ = ["LOCAL", "AsyncClient", "Client", "Lists", "unseen"]
