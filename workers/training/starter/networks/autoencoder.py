"""Stable Diffusion's AutoencoderKL with the patch code written into its encoder and a decoder started near it.

Group normalisation would discard the absolute level of colours. Two anchor channels of large opposite values dominate
its statistics, which turns it into a nearly fixed scaling; a bias moves SiLU to where it is nearly linear.
"""

from typing import Any

import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from torch import Tensor, nn

from workers.training.starter.networks.patch_code import CHANNELS, PATCH, SCALING_FACTOR, PatchCode
from workers.training.starter.world.picture import SIZE

WIDTHS = (16, 48, 96, 96)
ENCODER_ANCHOR, DECODER_ANCHOR = 30.0, 10.0
LINEAR_BIAS, LINEAR_GAIN = 8.0, 1.0
COLOURS = 3


def build_autoencoder(code: PatchCode) -> AutoencoderKL:
    """Encoder complete and frozen, decoder ready to be trained."""
    vae = AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * len(WIDTHS),
        up_block_types=("UpDecoderBlock2D",) * len(WIDTHS),
        block_out_channels=WIDTHS,
        layers_per_block=1,
        latent_channels=CHANNELS,
        norm_num_groups=1,
        sample_size=SIZE,
        scaling_factor=SCALING_FACTOR,
        mid_block_add_attention=False,
    )
    with torch.no_grad():
        _write_encoder(vae, code)
        _start_decoder(vae, code)
    for part in (vae.encoder, vae.quant_conv):
        if part is not None:
            part.requires_grad_(False)
    return vae


def _clear(layer: nn.Module) -> None:
    for parameter in layer.parameters():
        parameter.zero_()


def _pass_through(layer: nn.Conv2d, channels: int) -> None:
    """The layer's first outputs become its first inputs."""
    middle = layer.kernel_size[0] // 2
    layer.weight[:channels] = 0
    layer.weight[range(channels), range(channels), middle, middle] = 1
    if layer.bias is not None:
        layer.bias[:channels] = 0


def _gather(layer: nn.Conv2d, channels: int) -> None:
    """Stride-2 convolution that stacks each 2x2 block: output channel = (c, dy, dx)."""
    _clear(layer)
    for c in range(channels):
        for dy in range(2):
            for dx in range(2):
                layer.weight[4 * c + 2 * dy + dx, c, dy, dx] = 1


def _write_encoder(vae: Any, code: PatchCode) -> None:
    encoder = vae.encoder
    _clear(encoder.conv_in)
    _pass_through(encoder.conv_in, 3)
    for block in encoder.down_blocks:
        for resnet in block.resnets:
            _clear(resnet.conv2)
            if resnet.conv_shortcut is not None:
                _clear(resnet.conv_shortcut)
                _pass_through(resnet.conv_shortcut, resnet.conv_shortcut.in_channels)
    _gather(encoder.down_blocks[0].downsamplers[0].conv, 3)
    _gather(encoder.down_blocks[1].downsamplers[0].conv, 12)
    last = encoder.down_blocks[2].downsamplers[0].conv
    _clear(last)
    for dy3 in range(2):
        for dx3 in range(2):
            last.weight[:CHANNELS, :48, dy3, dx3] = _quarter_of_patch(code.projection, dy3, dx3)
    last.bias[:CHANNELS] = -(code.projection @ code.mean)
    for resnet in encoder.mid_block.resnets:
        _clear(resnet.conv2)
    encoder.mid_block.resnets[-1].conv2.bias[-2:] = torch.tensor([ENCODER_ANCHOR, -ENCODER_ANCHOR])
    _read_out(vae)


def _quarter_of_patch(projection: Tensor, dy3: int, dx3: int) -> Tensor:
    """(8, 48): the weights of one 4x4 quarter, ordered as two gathers leave the pixels."""
    patch = projection.reshape(CHANNELS, 3, 2, 2, 2, 2, 2, 2)  # k, c, dy3, dy2, dy1, dx3, dx2, dx1
    return patch[:, :, dy3, :, :, dx3, :, :].permute(0, 1, 3, 5, 2, 4).reshape(CHANNELS, 48)  # k, c, dy1, dx1, dy2, dx2


def _read_out(vae: Any) -> None:
    """Undo normalisation and SiLU, and leave the mean of the posterior with a vanishing variance."""
    encoder, width = vae.encoder, WIDTHS[-1]
    deviation = ENCODER_ANCHOR * (2 / width) ** 0.5
    encoder.conv_norm_out.weight.fill_(LINEAR_GAIN * deviation)
    encoder.conv_norm_out.bias.fill_(LINEAR_BIAS)
    _clear(encoder.conv_out)
    scale = 1 / (LINEAR_GAIN * SCALING_FACTOR)
    encoder.conv_out.weight[range(CHANNELS), range(CHANNELS), 1, 1] = scale
    encoder.conv_out.bias[:CHANNELS] = -scale * LINEAR_BIAS
    encoder.conv_out.bias[CHANNELS:] = -30.0
    _clear(vae.quant_conv)
    _pass_through(vae.quant_conv, 2 * CHANNELS)


def _start_decoder(vae: Any, code: PatchCode) -> None:
    """The mean colour of each patch goes straight through; everything else starts small."""
    decoder, kept = vae.decoder, COLOURS + 2
    _clear(vae.post_quant_conv)
    vae.post_quant_conv.weight[range(CHANNELS), range(CHANNELS), 0, 0] = SCALING_FACTOR
    inverse = torch.linalg.pinv(code.projection).reshape(3, PATCH**2, CHANNELS).mean(dim=1)
    decoder.conv_in.weight[:kept] = 0
    decoder.conv_in.weight[:COLOURS, :, 1, 1] = inverse
    decoder.conv_in.bias[:COLOURS] = code.mean.reshape(3, -1).mean(dim=1)
    decoder.conv_in.bias[COLOURS:kept] = torch.tensor([DECODER_ANCHOR, -DECODER_ANCHOR])
    for block in (decoder.mid_block, *decoder.up_blocks):
        for resnet in block.resnets:
            resnet.conv2.weight.mul_(0.1)
            resnet.conv2.weight[:kept] = 0
            resnet.conv2.bias.zero_()
            if resnet.conv_shortcut is not None:
                _pass_through(resnet.conv_shortcut, kept)
        for upsampler in getattr(block, "upsamplers", None) or ():
            _pass_through(upsampler.conv, kept)
    gain = DECODER_ANCHOR * (2 / WIDTHS[0]) ** 0.5
    decoder.conv_norm_out.weight[:COLOURS] = gain
    decoder.conv_norm_out.bias[:COLOURS] = LINEAR_BIAS
    decoder.conv_out.weight.mul_(0.1)
    decoder.conv_out.weight[:, :COLOURS] = 0
    decoder.conv_out.weight[range(3), range(3), 1, 1] = 1
    decoder.conv_out.bias.fill_(-LINEAR_BIAS)
