"""The errors of the pipelines and techniques. A refusal is final: trying again gives the same answer.

Refused                  the work cannot be done: a stable code, a sentence for people that says why
|-- ModelUnusable        the folder holds no base model that we can run
|-- WeightsMissing       a technique's own weights are not installed; says how to get them
|-- NotFinite            the model or a LoRA gave values that are not finite: there is no picture in them
`-- OutOfMemory          one picture alone does not fit on the device
DeviceLost               the device will not work again in this process; another process can do the work
"""


class Refused(Exception):
    """The technique cannot do this on this base model, with these inputs or at this size; the text says why."""

    code = "refused"


class ModelUnusable(Refused):
    """The folder holds no base model that we can run."""

    code = "model-unusable"


class WeightsMissing(Refused):
    """A technique's own weights are not installed; the text says how to get them."""

    code = "weights-missing"


class NotFinite(Refused):
    """The model or a LoRA gave values that are not finite; the text names them."""

    code = "not-finite"


class OutOfMemory(Refused):
    """One picture alone does not fit on the device; a smaller one might. `lacking` are the bytes, 0 if not known."""

    code = "out-of-memory"

    def __init__(self, text: str, lacking: int = 0) -> None:
        super().__init__(text)
        self.lacking = lacking


class DeviceLost(Exception):
    """The device will not work again in this process: replace it, and try the work in another."""
