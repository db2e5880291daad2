"""The judges: a small convolutional classifier of objects, and an embedding of style that ignores the object."""

import json
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn


class ObjectJudge(nn.Module):
    """Logits over the objects for pictures (n, 3, 128, 128) in [-1, 1]."""

    def __init__(self, objects: tuple[str, ...], widths: tuple[int, ...] = (32, 64, 96, 128)) -> None:
        super().__init__()
        self.objects = objects
        self.features = _convolutions(widths)
        self.head = nn.Linear(widths[-1] * 16, len(objects))

    def forward(self, pictures: Tensor) -> Tensor:
        """(n, objects)."""
        small = nn.functional.avg_pool2d(pictures, 2)
        return self.head(nn.functional.adaptive_avg_pool2d(self.features(small), 4).flatten(1))


class StyleJudge(nn.Module):
    """Unit style embeddings (n, 64) of pictures (n, 3, 128, 128) in [-1, 1], from means and deviations of features."""

    def __init__(self, widths: tuple[int, ...] = (32, 64, 96), size: int = 64) -> None:
        super().__init__()
        self.features = _convolutions(widths)
        self.head = nn.Linear(2 * sum(widths) + 6, size)

    def forward(self, pictures: Tensor) -> Tensor:
        """(n, 64), unit length."""
        statistics, x = [_moments(pictures)], pictures
        for block in self.features:
            x = block(x)
            statistics.append(_moments(x))
        return nn.functional.normalize(self.head(torch.cat(statistics, dim=1)), dim=1)


def _moments(x: Tensor) -> Tensor:
    flat = x.flatten(2)
    return torch.cat([flat.mean(dim=2), (flat.var(dim=2) + 1e-5).sqrt()], dim=1)


def _convolutions(widths: tuple[int, ...]) -> nn.Sequential:
    """Each block halves the side: convolution, batch norm, ReLU."""
    channels = (3, *widths)
    blocks = [
        nn.Sequential(
            nn.Conv2d(channels[i], channels[i + 1], 5 if i == 0 else 3, 2, 2 if i == 0 else 1, bias=False),
            nn.BatchNorm2d(channels[i + 1]),
            nn.ReLU(),
        )
        for i in range(len(widths))
    ]
    return nn.Sequential(*blocks)


@dataclass(frozen=True)
class Judges:
    """Both, in evaluation mode."""

    objects: ObjectJudge
    style: StyleJudge

    @torch.no_grad()
    def classify(self, pictures: Tensor) -> list[str]:
        """Names of the objects shown."""
        return [self.objects.objects[index] for index in self.objects(pictures).argmax(dim=1).tolist()]

    @torch.no_grad()
    def embed_style(self, pictures: Tensor) -> Tensor:
        """(n, 64) unit embeddings; their dot product is the style similarity."""
        embedding: Tensor = self.style(pictures)
        return embedding


def save_judges(judges: Judges, path: Path) -> None:
    """One safetensors file, half precision, the names of the objects in its header."""
    tensors = {f"objects.{name}": value for name, value in judges.objects.state_dict().items()}
    tensors |= {f"style.{name}": value for name, value in judges.style.state_dict().items()}
    halves = {name: (t.half() if t.is_floating_point() else t).contiguous() for name, t in tensors.items()}
    save_file(halves, path, metadata={"objects": json.dumps(judges.objects.objects)})


def load_judges(path: Path) -> Judges:
    """Read what `save_judges` wrote, as float32 on the CPU."""
    with safe_open(path, framework="pt") as file:
        judges = Judges(ObjectJudge(tuple(json.loads(file.metadata()["objects"]))), StyleJudge())
        for name, module in (("objects", judges.objects), ("style", judges.style)):
            keys = [key for key in file.keys() if key.startswith(name + ".")]  # noqa: SIM118
            module.load_state_dict({key.removeprefix(name + "."): file.get_tensor(key) for key in keys})
            module.float().eval().requires_grad_(False)
    return judges
