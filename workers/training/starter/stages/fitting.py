"""The loop of the stages that train something beside the frozen denoiser."""

from collections import deque
from collections.abc import Callable

import torch
from torch import Tensor, nn

from workers.training.starter.recipe import Stage
from workers.training.starter.workspace import Workspace, half_precision, learning_rate, set_learning_rate, steps

SAVE_EVERY = 50
RECENT = 50
"""Steps over which the loss that is shown is averaged."""


def fit(space: Workspace, name: str, stage: Stage, trained: nn.Module, loss: Callable[[int], Tensor]) -> None:
    """Lower `loss(step)` by the parameters of `trained` that want a gradient; resumes the checkpoint of that name."""
    parameters = {key: value for key, value in trained.named_parameters() if value.requires_grad}
    optimizer = torch.optim.AdamW(parameters.values(), betas=(0.9, 0.99), weight_decay=0.01, fused=True)
    first = 0
    if (state := space.load(name)) is not None:
        restore(trained, state["model"])
        optimizer.load_state_dict(state["optimizer"])
        first = int(state["step"])
    losses: deque[Tensor] = deque(maxlen=RECENT)
    for step, bar in steps(first, stage.steps, name):
        set_learning_rate(optimizer, learning_rate(stage, step, decay=0.5))
        with half_precision(space.device):
            error = loss(step)
        error.backward()
        nn.utils.clip_grad_norm_(parameters.values(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        losses.append(error.detach())
        bar.set_postfix(loss=f"{float(torch.stack(tuple(losses)).mean()):.4f}", refresh=False)
        if (step + 1) % SAVE_EVERY == 0 or step + 1 == stage.steps:
            model = {key: value.detach() for key, value in parameters.items()}
            space.save(name, {"model": model, "optimizer": optimizer.state_dict(), "step": step + 1})


@torch.no_grad()
def restore(trained: nn.Module, saved: dict[str, Tensor]) -> None:
    """Copy saved parameters into the module; their names must be exactly those that want a gradient."""
    parameters = {key: value for key, value in trained.named_parameters() if value.requires_grad}
    if parameters.keys() != saved.keys():
        raise ValueError(f"another network was saved: {sorted(parameters.keys() ^ saved.keys())[0]}")
    for key, value in saved.items():
        parameters[key].copy_(value)


def trained_state(space: Workspace, name: str) -> dict[str, Tensor]:
    """The parameters that a stage has left, on the CPU. Raises FileNotFoundError before its first start."""
    state = space.load(name)
    if state is None:
        raise FileNotFoundError(f"train the {name} stage first: {space.checkpoint_path(name)}")
    return {key: value.cpu() for key, value in state["model"].items()}
