"""The judges, trained on real pictures of the whole world (every object, style and placement, whatever the recipe's
denoiser knows) and measured on style instances they never saw."""

import json

import numpy as np
import torch
from torch import Tensor, nn

from workers.training.starter.dataset import PictureSet, Portion
from workers.training.starter.judges import Judges, ObjectJudge, StyleJudge, save_judges
from workers.training.starter.networks.patch_code import as_tensor
from workers.training.starter.workspace import Workspace, learning_rate, set_learning_rate, steps
from workers.training.starter.world.objects import OBJECTS
from workers.training.starter.world.registry import STYLES
from workers.training.starter.world.scene import Placement

TEMPERATURE = 0.07
JUDGED = 1024


def train_judges(space: Workspace) -> None:
    """Train both and write `judges.safetensors` with `judges.json`, their accuracy on unseen pictures."""
    torch.manual_seed(space.recipe.seed)
    r = space.recipe
    objects, styles = tuple(OBJECTS), tuple(STYLES)
    judges = Judges(ObjectJudge(objects).to(space.device), StyleJudge().to(space.device))
    portion = Portion(objects, styles, Placement(), r.judges_pictures, 0.2, pairs="all", seed=r.seed + 1)
    _train(judges, space, space.pictures(portion))
    unseen = Portion(objects, styles, Placement(), JUDGED, pairs="all", unseen_instances=True, seed=r.seed + 2)
    figures = measure_judges(judges, space.pictures(unseen), space.device)
    save_judges(judges, space.folder / "judges.safetensors")
    (space.folder / "judges.json").write_text(json.dumps(figures, indent=1) + "\n")


def _train(judges: Judges, space: Workspace, pictures: PictureSet) -> None:
    stage = space.recipe.judges
    parameters = [*judges.objects.parameters(), *judges.style.parameters()]
    optimizer = torch.optim.AdamW(parameters, weight_decay=0.02)
    names = torch.tensor([judges.objects.objects.index(spec.object_name) for spec in pictures.specs])
    first = 0
    if (state := space.load("judges")) is not None:
        judges.objects.load_state_dict(state["objects"])
        judges.style.load_state_dict(state["style"])
        optimizer.load_state_dict(state["optimizer"])
        first = int(state["step"])
    for step, bar in steps(first, stage.steps, "judges"):
        set_learning_rate(optimizer, learning_rate(stage, step, decay=0.5))
        rng = np.random.default_rng([space.recipe.seed, step])
        pair = rng.integers(0, len(pictures) // 2, stage.batch // 2)
        chosen = np.concatenate([2 * pair, 2 * pair + 1])
        batch = as_tensor(pictures.images[chosen]).to(space.device)
        logits = judges.objects(spoiled(batch, torch.Generator().manual_seed(step)))
        content = nn.functional.cross_entropy(logits, names[chosen].to(space.device), label_smoothing=0.05)
        style = same_style_loss(judges.style(batch))
        (content + style).backward()
        optimizer.step()
        optimizer.zero_grad()
        bar.set_postfix(content=f"{float(content.detach()):.3f}", style=f"{float(style.detach()):.3f}", refresh=False)
        if (step + 1) % 200 == 0 or step + 1 == stage.steps:
            states = {"objects": judges.objects.state_dict(), "style": judges.style.state_dict()}
            space.save("judges", states | {"optimizer": optimizer.state_dict(), "step": step + 1})


def spoiled(batch: Tensor, generator: torch.Generator) -> Tensor:
    """The batch softened, shifted and made noisy at random, so that the judge looks at shapes, not at pixels."""
    if torch.rand((), generator=generator) < 0.5:
        small = nn.functional.avg_pool2d(batch, 2)
        batch = nn.functional.interpolate(small, scale_factor=2, mode="bilinear", align_corners=False)
    dy, dx = torch.randint(-10, 11, (2,), generator=generator).tolist()
    padded = nn.functional.pad(batch, (10, 10, 10, 10), mode="replicate")
    shifted = padded[:, :, 10 + dy : 10 + dy + batch.shape[2], 10 + dx : 10 + dx + batch.shape[3]]
    amount = 0.2 * torch.rand((), generator=generator)
    return shifted + (amount * torch.randn(batch.shape, generator=generator)).to(batch.device)


def same_style_loss(embeddings: Tensor) -> Tensor:
    """InfoNCE between the halves of the batch: picture i and n/2 + i share the style instance."""
    left, right = embeddings.chunk(2)
    logits = left @ right.T / TEMPERATURE
    targets = torch.arange(len(left), device=logits.device)
    return (nn.functional.cross_entropy(logits, targets) + nn.functional.cross_entropy(logits.T, targets)) / 2


@torch.no_grad()
def measure_judges(judges: Judges, pictures: PictureSet, device: torch.device) -> dict[str, float]:
    """Object accuracy, and same-style-other-object retrieval among 128 (chance 1/128)."""
    judges.objects.eval()
    judges.style.eval()
    pixels = as_tensor(pictures.images).to(device)
    named = [name for part in pixels.split(128) for name in judges.classify(part)]
    right = [name == spec.object_name for name, spec in zip(named, pictures.specs, strict=True)]
    embedding = torch.cat([judges.embed_style(part) for part in pixels.split(128)])
    hits = []
    for start in range(0, len(pictures) - 255, 256):
        left, other = embedding[start : start + 256 : 2], embedding[start + 1 : start + 256 : 2]
        hits.append((left @ other.T).argmax(dim=1).cpu() == torch.arange(len(left)))
    retrieval = float(torch.cat(hits).float().mean())
    return {"object_accuracy": float(np.mean(right)), "style_retrieval_of_128": retrieval, "pictures": len(pictures)}
