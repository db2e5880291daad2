"""A group of commands whose own options may stand behind the sub-command, where people write them."""

from collections.abc import Iterator
from typing import Any

from typer.core import TyperGroup, TyperOption


class OptionsAnywhere(TyperGroup):
    """Reads its own options, all of which take a value, wherever they stand."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """See click: the options of the group come first."""
        names = {name for option in self.params if isinstance(option, TyperOption) for name in option.opts}
        own: list[str] = []
        others: list[str] = []
        rest = iter(args)
        for word in rest:
            (own if word.partition("=")[0] in names else others).append(word)
            if word in names:
                own += _value(rest)
            elif word == "--":
                others += rest
        return super().parse_args(ctx, own + others)


def _value(rest: Iterator[str]) -> list[str]:
    return [value for value in [next(rest, None)] if value is not None]
