"""The IP-Adapter, on the frozen UNet: draw this object in the style of a picture that shows another one."""

import numpy as np
import torch
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from torch import Tensor

from workers.training.starter.dataset import PictureSet
from workers.training.starter.lesson import Noised
from workers.training.starter.networks.adapter import attach, new_adapter
from workers.training.starter.networks.captioner import Captioner
from workers.training.starter.networks.patch_code import as_tensor, encode_all
from workers.training.starter.networks.unet import attend_for_training, build_scheduler
from workers.training.starter.sample import load_unet
from workers.training.starter.stages.clip import load_shared
from workers.training.starter.stages.fitting import fit, restore, trained_state
from workers.training.starter.stages.unet import noised
from workers.training.starter.workspace import Workspace
from workers.training.starter.world.captions import caption

NO_IMAGE, NO_TEXT, SAME_PICTURE = 0.1, 0.1, 0.1


def train_ip_adapter(space: Workspace) -> None:
    """Noise prediction with the reference's embedding; the caption names the object and never the style."""
    stage, seed = space.recipe.ip_adapter, space.recipe.seed
    unet, _ = load_unet(space)
    attend_for_training(unet)
    attach(unet, new_adapter(unet, torch.Generator().manual_seed(seed)))
    pictures = space.pictures(space.training_portion())
    latents = encode_all(space.patch_code(), pictures.images)
    embeds, captioner = embed_images(space, pictures), Captioner(space.recipe, space.device)
    alphas = build_scheduler().alphas_cumprod

    def loss(step: int) -> Tensor:
        rng = np.random.default_rng([seed, step])
        chosen, references, captions = _batch(pictures, stage.batch, rng)
        wanted = Noised(*noised(latents[chosen].to(space.device), alphas, torch.Generator().manual_seed(step)))
        image = embeds[references] * torch.from_numpy(rng.uniform(size=(stage.batch, 1, 1)) >= NO_IMAGE)
        condition = {"image_embeds": [image.to(space.device)]}
        text = captioner.encode(captions)
        return wanted.loss(
            unet(wanted.latents, wanted.t, encoder_hidden_states=text, added_cond_kwargs=condition).sample
        )

    fit(space, "ip-adapter", stage, unet, loss)


def load_ip_adapter(space: Workspace, unet: UNet2DConditionModel) -> None:
    """Put what the stage has trained into the UNet. Raises FileNotFoundError before its first start."""
    attach(unet, new_adapter(unet, torch.Generator()))
    restore(unet, trained_state(space, "ip-adapter"))


def _batch(pictures: PictureSet, count: int, rng: np.random.Generator) -> tuple[Tensor, Tensor, list[str]]:
    """Pictures to learn, references (mostly the other picture of the pair), captions without the style."""
    chosen = rng.integers(0, len(pictures), count)
    references = np.where(rng.uniform(size=count) < SAME_PICTURE, chosen, chosen ^ 1)
    captions = [
        caption(pictures.specs[index].object_name, colour=pictures.specs[index].colour_word) for index in chosen
    ]
    kept = [text if keep else "" for text, keep in zip(captions, rng.uniform(size=count) >= NO_TEXT, strict=True)]
    return torch.from_numpy(chosen), torch.from_numpy(references), kept


@torch.no_grad()
def embed_images(space: Workspace, pictures: PictureSet) -> Tensor:
    """(n, 1, 128) image embeddings, the shape in which diffusers hands them to the UNet."""
    encoder, _ = load_shared(space)
    starts = range(0, len(pictures), 128)
    parts = [encoder(as_tensor(pictures.images[start : start + 128]).to(space.device)).image_embeds for start in starts]
    return torch.cat(parts)[:, None].cpu()
