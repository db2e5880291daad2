"""Why a webhook was not taken."""


class NotDelivered(Exception):
    """No answer came; the text says why in a word or two, for the caller. `silent`: nobody said anything in time."""

    def __init__(self, detail: str, *, silent: bool = False) -> None:
        super().__init__(detail)
        self.silent = silent


class NotTried(Exception):
    """The call was not made for want of room on our side: that is no try, it is due again."""
