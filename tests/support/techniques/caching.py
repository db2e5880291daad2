"""A request leaves no trace on the networks it uses: the one check of it for all techniques."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch

from workers.engine.denoise import Trajectory, denoise
from workers.engine.technique import GenerationInputs, PrepareContext, Technique

State = dict[str, Any]


class BrokenOffError(Exception):
    """Ends a request in the middle."""


def break_off(trajectory: Trajectory) -> None:
    """Watch a trajectory until its first step is done."""
    if trajectory.step == 1:
        raise BrokenOffError


@contextmanager
def unchanged(*nets: Any) -> Iterator[None]:
    """Require that what happens inside leaves networks as they were, to the bit."""
    before = [_state(net) for net in nets]
    yield
    for one, net in zip(before, nets, strict=True):
        after = _state(net)
        weights, others = one.pop("weights"), after.pop("weights")
        assert [part for part in one if one[part] != after[part]] == []
        assert [name for name, tensor in weights.items() if not torch.equal(tensor, others[name])] == []


def require_no_trace(
    technique: Technique, context: PrepareContext, inputs: GenerationInputs, *nets: Any, fails: bool
) -> None:
    """Require that an order, carried out or broken off after a step, leaves the UNet and `nets` as they were."""
    unet = context.backbone.denoiser
    with unchanged(unet, *nets):
        trajectory = technique.prepare(inputs, context)
        if fails:
            with pytest.raises(BrokenOffError), technique.patch(context.backbone, [trajectory]) as hooks:
                denoise(context.backbone.predict, [trajectory], hooks=hooks, watch=break_off)
        else:
            with technique.patch(context.backbone, [trajectory]) as hooks:
                denoise(context.backbone.predict, [trajectory], hooks=hooks)


def _state(net: Any) -> State:
    """Return processors, modules, hooks, configuration, weights and gradients of a network."""
    modules = dict(net.named_modules())
    return {
        "processors": {name: id(processor) for name, processor in getattr(net, "attn_processors", {}).items()},
        "modules": {name: (id(module), "forward" in vars(module)) for name, module in modules.items()},
        "hooks": {name: (len(m._forward_hooks), len(m._forward_pre_hooks)) for name, m in modules.items()},
        "config": repr(net.config),
        "weights": {name: tensor.clone() for name, tensor in net.state_dict().items()},
        "gradients": [(p.requires_grad, p.grad is None) for p in net.parameters()],
    }
