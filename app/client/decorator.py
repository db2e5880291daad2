"""How one operation becomes a method of both clients, with its types."""

import functools
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, Concatenate, Generic, ParamSpec, TypeVar, overload

from .http import Operation

if TYPE_CHECKING:
    from .async_client import AsyncClient
    from .sync_client import Client

P = ParamSpec("P")
T = TypeVar("T")


class operation(Generic[P, T]):  # noqa: N801  a decorator
    """A generator as a method: of a Client one that returns its result, of an AsyncClient one to be awaited."""

    def __init__(self, steps: Callable[Concatenate[Any, P], Operation[T]]) -> None:
        self._steps = steps
        self.__doc__ = steps.__doc__

    @overload
    def __get__(self, client: None, owner: type) -> Callable[Concatenate[Any, P], Operation[T]]: ...
    @overload
    def __get__(self, client: "Client", owner: type) -> Callable[P, T]: ...
    @overload
    def __get__(self, client: "AsyncClient", owner: type) -> Callable[P, Coroutine[Any, Any, T]]: ...
    def __get__(self, client: Any, owner: type) -> Any:
        """Return the generator itself of a class."""
        if client is None:
            return self._steps
        steps = self._steps.__get__(client)

        @functools.wraps(steps)
        def run(*args: P.args, **kwargs: P.kwargs) -> Any:
            return client.run(steps(*args, **kwargs))

        return run
