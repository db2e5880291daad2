"""Which cross-attentions see the style image, by name."""

from collections.abc import Iterable

from workers.engine.errors import Refused


def selected(layers: Iterable[str], target_blocks: Iterable[str]) -> tuple[str, ...]:
    """Return the layers (as in `unet.attn_processors`) whose name contains any of the target blocks, in their order.

    Raises Refused, naming the blocks there are, when none does.
    """
    names, targets = tuple(layers), tuple(target_blocks)
    found = tuple(layer for layer in names if any(target in layer for target in targets))
    if not found:
        blocks = dict.fromkeys(name.split(".transformer_blocks.")[0] for name in names)
        raise Refused(f"no image attention is in {', '.join(targets)}; this model has {', '.join(blocks)}")
    return found
