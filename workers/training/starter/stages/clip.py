"""Image encoder and text projection, trained contrastively; the text encoder itself stays as built."""

import numpy as np
import torch
from torch import Tensor, nn
from transformers import CLIPTextModelWithProjection, CLIPVisionModelWithProjection

from workers.training.starter.networks.captioner import Captioner
from workers.training.starter.networks.image_encoder import build_image_encoder
from workers.training.starter.networks.patch_code import as_tensor
from workers.training.starter.networks.text import tokenise
from workers.training.starter.recipe import StarterConfig
from workers.training.starter.stages.judges import same_style_loss
from workers.training.starter.workspace import Workspace, learning_rate, placed, set_learning_rate, steps
from workers.training.starter.world.captions import caption
from workers.training.starter.world.picture import PictureSpec

SAVE_EVERY = 250
LARGEST_SCALE = 100.0  # Radford et al. 2021


class SharedSpace(nn.Module):
    """What the stage trains: the vision tower, the projection of the text's pooled state, the temperature."""

    def __init__(self, width: int, projection_dim: int) -> None:
        super().__init__()
        self.vision: CLIPVisionModelWithProjection = build_image_encoder()
        self.text_projection = nn.Linear(width, projection_dim, bias=False)
        self.log_scale = nn.Parameter(torch.tensor(14.0).log())

    def image(self, pixels: Tensor) -> Tensor:
        """(n, 3, 128, 128) in [-1, 1] to unit embeddings (n, projection_dim)."""
        return nn.functional.normalize(self.vision(pixel_values=pixels).image_embeds, dim=1)

    def text(self, pooled: Tensor) -> Tensor:
        """Pooled text states (n, width) to unit embeddings."""
        return nn.functional.normalize(self.text_projection(pooled), dim=1)


class Prompts:
    """Pooled states of every prompt that the stage compares with: whole captions, objects alone, styles alone."""

    @torch.no_grad()
    def __init__(self, recipe: StarterConfig, captioner: Captioner) -> None:
        self.recipe = recipe
        groups = [
            [caption(name, style) for name in recipe.objects for style in recipe.styles],
            [caption(name) for name in recipe.objects],
            [caption("", style) for style in recipe.styles],
        ]
        device = captioner.encoder.device
        ids = [tokenise(captioner.tokenizer, group).to(device) for group in groups]
        self.whole, self.objects, self.styles = (captioner.encoder.text_model(input_ids=i).pooler_output for i in ids)

    def targets(self, specs: list[PictureSpec]) -> tuple[Tensor, Tensor, Tensor]:
        """Indices of the right prompt of each group."""
        names = torch.tensor([self.recipe.objects.index(spec.object_name) for spec in specs])
        styles = torch.tensor([self.recipe.styles.index(spec.style) for spec in specs])
        return names * len(self.recipe.styles) + styles, names, styles


def build_space(space: Workspace, captioner: Captioner) -> SharedSpace:
    """At its start, the projection being the encoder's own random one."""
    torch.manual_seed(space.recipe.seed)
    projection = captioner.encoder.text_projection.weight
    shared = placed(SharedSpace(projection.shape[1], projection.shape[0]), space.device)
    return shared


def train_clip(space: Workspace) -> None:
    """Cross-entropy against all prompts of each group, and same-style pairs in the second half of the dimensions."""
    captioner = Captioner(space.recipe, space.device)
    shared, prompts = build_space(space, captioner), Prompts(space.recipe, captioner)
    optimizer = torch.optim.AdamW(shared.parameters(), betas=(0.9, 0.98), weight_decay=0.05, fused=True)
    stage, first = space.recipe.clip, 0
    if (state := space.load("clip")) is not None:
        shared.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        first = int(state["step"])
    pictures = space.pictures(space.training_portion())
    for step, bar in steps(first, stage.steps, "clip"):
        set_learning_rate(optimizer, learning_rate(stage, step, decay=0.5))
        pair = np.random.default_rng([space.recipe.seed, step]).integers(0, len(pictures) // 2, stage.batch // 2)
        chosen = np.concatenate([2 * pair, 2 * pair + 1])
        pixels = as_tensor(pictures.images[chosen]).to(space.device)
        loss = contrastive_loss(shared, prompts, pixels, [pictures.specs[index] for index in chosen])
        loss.backward()
        torch.nn.utils.clip_grad_norm_(shared.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        bar.set_postfix(loss=f"{float(loss.detach()):.3f}", refresh=False)
        if (step + 1) % SAVE_EVERY == 0 or step + 1 == stage.steps:
            space.save("clip", {"model": shared.state_dict(), "optimizer": optimizer.state_dict(), "step": step + 1})


def contrastive_loss(shared: SharedSpace, prompts: Prompts, pixels: Tensor, specs: list[PictureSpec]) -> Tensor:
    """Image to text over the three groups of prompts, and image to image within the style."""
    images = shared.image(pixels)
    scale = shared.log_scale.exp().clamp(max=LARGEST_SCALE)
    loss = torch.zeros((), device=pixels.device)
    groups = (prompts.whole, prompts.objects, prompts.styles)
    for pooled, target in zip(groups, prompts.targets(specs), strict=True):
        logits = scale * images @ shared.text(pooled).T
        loss = loss + nn.functional.cross_entropy(logits, target.to(pixels.device))
    half = images[:, images.shape[1] // 2 :]
    return loss + 0.5 * same_style_loss(nn.functional.normalize(half, dim=1))


def load_shared(space: Workspace) -> tuple[CLIPVisionModelWithProjection, CLIPTextModelWithProjection]:
    """The trained image encoder, and the text encoder with its trained projection."""
    state = space.load("clip")
    if state is None:
        raise FileNotFoundError(f"train the clip stage first: {space.checkpoint_path('clip')}")
    captioner = Captioner(space.recipe, space.device)
    shared = build_space(space, captioner)
    shared.load_state_dict(state["model"])
    captioner.encoder.text_projection.weight.data.copy_(shared.text_projection.weight.data)
    return shared.vision.eval().requires_grad_(False), captioner.encoder
