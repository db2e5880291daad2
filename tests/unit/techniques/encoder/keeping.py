"""What a technique could leave changed on a network."""

from typing import Any

import torch

State = dict[str, Any]


def state(net: Any) -> State:
    """Return processors, modules, hooks, configuration and weights of a UNet or ControlNet."""
    modules = dict(net.named_modules())
    return {
        "processors": {name: id(processor) for name, processor in net.attn_processors.items()},
        "modules": {name: (id(module), "forward" in vars(module)) for name, module in modules.items()},
        "hooks": {name: (len(m._forward_hooks), len(m._forward_pre_hooks)) for name, m in modules.items()},
        "config": dict(net.config),
        "weights": {name: t.clone() for name, t in net.state_dict().items()},
        "gradients": any(parameter.requires_grad for parameter in net.parameters()),
    }


def same(one: State, other: State) -> bool:
    """Return whether nothing changed, to the bit."""
    weights, others = one["weights"], other["weights"]
    return all(one[part] == other[part] for part in one if part != "weights") and all(
        torch.equal(tensor, others[name]) for name, tensor in weights.items()
    )
