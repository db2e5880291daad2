"""The Python client: `Client` blocks, `AsyncClient` awaits; both say the same.

    with Client("http://127.0.0.1:8000") as stylize:
        job = stylize.submit("instantstyle", prompt="a house by a lake", style_images=["style.png"], seed=7)
        done = stylize.wait(job)
        stylize.download(done, "out")

All verbs raise the errors of `app.failures`.
"""

from app.client.awaiting import AsyncClient
from app.client.blocking import Client
from app.client.transport import LOCAL, unseen
from app.group_exchanges import Lists

__all__ = ["LOCAL", "AsyncClient", "Client", "Lists", "unseen"]
