"""DEADiff's scheme on exact pairs: the style of another content, the content of another style, both of one picture."""

from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from workers.training.starter.lesson import Lesson, load_lesson
from workers.training.starter.networks import qformer
from workers.training.starter.networks.unet import attend_for_training
from workers.training.starter.sample import load_unet
from workers.training.starter.stages.fitting import fit
from workers.training.starter.workspace import Workspace
from workers.training.starter.world.captions import caption
from workers.training.starter.world.picture import PictureSpec

Query = Literal["style", "content", "both"]
QUERIES: tuple[Query, ...] = ("style", "content", "both")
SHARES = (0.6, 0.25, 0.15)
OBJECT_NAMED = 0.3
"""Of the captions of content queries; the others name the style alone."""


def train_qformer(space: Workspace) -> None:
    """Noise prediction on the frozen UNet with the tokens that the query asks for, zero tokens for the other side."""
    stage, seed = space.recipe.qformer, space.recipe.seed
    torch.manual_seed(seed)
    unet, _ = load_unet(space)
    attend_for_training(unet)
    readers = qformer.attach(unet)
    lesson = load_lesson(space)

    def loss(step: int) -> Tensor:
        rng = np.random.default_rng([seed, step])
        chosen = lesson.chosen(rng, stage.batch)
        queries = [QUERIES[number] for number in rng.choice(len(QUERIES), stage.batch, p=SHARES)]
        for side, seen in references(lesson, chosen, queries).items():
            asked = torch.tensor([query in (side, "both") for query in queries], device=space.device)
            readers.shown.tokens[side] = readers.trained[side](lesson.features(seen)) * asked[:, None, None]
        text = lesson.text(captions(lesson, chosen, queries, rng), rng)
        noised = lesson.noised(chosen, step)
        return noised.loss(unet(noised.latents, noised.t, encoder_hidden_states=text).sample)

    fit(space, "qformer", stage, readers.trained, loss)


def references(
    lesson: Lesson, chosen: NDArray[np.int64], queries: list[Query]
) -> dict[qformer.Side, NDArray[np.uint8]]:
    """What each side reads: the style of another content, the content of another style, or both of the picture."""
    whole = np.array([query == "both" for query in queries])
    images = lesson.pictures.images
    content = np.where(whole[:, None, None, None], images[chosen], lesson.others[chosen])
    return {"style": images[np.where(whole, chosen, chosen ^ 1)], "content": content}


def captions(lesson: Lesson, chosen: NDArray[np.int64], queries: list[Query], rng: np.random.Generator) -> list[str]:
    """What the picture does not tell: the object for a style, the style for a content, either for both."""
    specs = [lesson.pictures.specs[index] for index in chosen]
    return [_caption(spec, query, rng) for spec, query in zip(specs, queries, strict=True)]


def _caption(spec: PictureSpec, query: Query, rng: np.random.Generator) -> str:
    if query == "style":
        return caption(spec.object_name, colour=spec.colour_word)
    if query == "content":
        return caption(spec.object_name if rng.uniform() < OBJECT_NAMED else "", spec.style)
    return caption(spec.object_name) if rng.uniform() < 0.5 else caption("", spec.style)
