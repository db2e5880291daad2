"""The Python client of Stylize: `Client` blocks, `AsyncClient` awaits; both do the same.

    with Client("http://127.0.0.1:8000") as stylize:
        job = stylize.submit("instantstyle", prompt="a house by a lake", style_images=["style.png"], seed=7)
        done = stylize.wait(job)
        stylize.download(done, "out")

All operations raise StylizeError; see `errors`.
"""

from .async_client import AsyncClient
from .comparison_models import ComparisonsView, ComparisonView
from .errors import (
    Busy,
    JobCanceled,
    JobFailed,
    NotDoneInTime,
    RequestRefused,
    ServiceAway,
    StylizeError,
    UnexpectedResponse,
)
from .methods import MethodsView, MethodView
from .models import (
    File,
    JobState,
    JobsView,
    JobView,
    RecipeView,
    StylesView,
    StyleView,
    StylizeFields,
)
from .sync_client import LOCAL, Client

__all__ = [
    "LOCAL",
    "AsyncClient",
    "Busy",
    "Client",
    "ComparisonView",
    "ComparisonsView",
    "File",
    "JobCanceled",
    "JobFailed",
    "JobState",
    "JobView",
    "JobsView",
    "MethodView",
    "MethodsView",
    "NotDoneInTime",
    "RecipeView",
    "RequestRefused",
    "ServiceAway",
    "StyleView",
    "StylesView",
    "StylizeError",
    "StylizeFields",
    "UnexpectedResponse",
]
