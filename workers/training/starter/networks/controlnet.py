"""The tile ControlNet: the UNet's own encoder, of which only the fine levels are trained and stored.

The other layers stay those of the UNet, which whoever loads the file has: a third of the size, and as many names.
"""

from pathlib import Path
from typing import Any

from diffusers import ControlNetModel
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from safetensors.torch import save_file
from torch import Tensor, nn

EMBEDDING_CHANNELS = (16, 32, 64, 96)
OWN = ("conv_in.", "controlnet_", "down_blocks.0.", "down_blocks.1.")
"""Beginnings of the names of what is trained and stored."""
FACTORS = (1, 2, 4)
"""Tile ControlNets see pictures made smaller and larger again, or as they are."""


def build_controlnet(unet: UNet2DConditionModel) -> Any:
    """A ControlNet that starts from the UNet, its own parameters trainable; a plain one, not yet trained."""
    net = ControlNetModel.from_unet(unet, conditioning_embedding_out_channels=EMBEDDING_CHANNELS)
    for name, parameter in net.named_parameters():
        parameter.requires_grad_(name.startswith(OWN))
    return net.to(unet.device)


def tiles(pictures: Tensor, factors: Tensor) -> Tensor:
    """Pictures (n, 3, h, w) in [0, 1], each made smaller by its factor (n,) and as large as before."""
    shown = pictures.clone()
    for factor in FACTORS[1:]:
        chosen = factors == factor
        small = nn.functional.avg_pool2d(pictures[chosen], factor)
        shown[chosen] = nn.functional.interpolate(small, pictures.shape[2:], mode="bicubic").clamp(0, 1)
    return shown


def write_controlnet(net: Any, folder: Path) -> None:
    """`config.json`, and the own tensors in half precision."""
    net.save_config(folder)
    own = {name: t.half().contiguous().cpu() for name, t in net.state_dict().items() if name.startswith(OWN)}
    save_file(own, folder / "diffusion_pytorch_model.safetensors")


def residuals(net: Any, latents: Tensor, t: Tensor, text: Tensor, image: Tensor, scale: float = 1.0) -> dict[str, Any]:
    """What the UNet takes beside its input: the residuals for a picture (n, 3, h, w) in [0, 1]."""
    down, middle = net(latents, t, text, image, conditioning_scale=scale, return_dict=False)
    return {"down_block_additional_residuals": down, "mid_block_additional_residual": middle}
