"""The authors' checkpoint layout: what loads, and which key is named when it does not."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from tests.support.techniques import csgo_requests
from tests.support.techniques.csgo_requests import PUBLISHED, Installed, Stored, asked, own, saved, store, stored
from tests.support.techniques.csgo_requests import without_residents as fresh
from tests.support.techniques.encoder_samples import bench_on, latents
from workers.engine.backbones.stable_diffusion import StableDiffusion
from workers.engine.errors import ModelUnusable, Refused
from workers.techniques.encoder.csgo import checkpoint
from workers.techniques.encoder.csgo.spec import CSGOParams
from workers.techniques.encoder.csgo.technique import TECHNIQUE

ADAPTER = "down_blocks.1.attentions.0.transformer_blocks.0.attn2.processor.to_k_ip.weight"


def test_the_converted_file_holds_what_the_authors_pickled() -> None:
    theirs, ours = torch.load(PUBLISHED, weights_only=True), checkpoint.read(csgo_requests.checkpoint())
    assert (ours.content.tokens, ours.style.tokens) == (4, 32)
    for part, read in (
        ("style_image_proj", ours.style.image_proj),
        ("content_image_proj", ours.content.image_proj),
        ("ip_adapter", ours.unet),
        ("controlnet_adapter_modules", ours.controlnet),
    ):
        assert theirs[part].keys() == read.keys()
        assert all(torch.equal(tensor, read[name]) for name, tensor in theirs[part].items())


def test_the_checkpoints_values_replace_the_controlnets(sdxl: StableDiffusion, tiny_root: Path) -> None:
    net = own(bench_on(sdxl, store(tiny_root))).controlnet
    values, state = stored()["controlnet_adapter_modules"], net.state_dict()
    assert not [name for name in state if "to_k_ip" in name]
    assert all(torch.equal(tensor, values[name].float()) for name, tensor in state.items())


def renamed(part: str, old: str, new: str) -> Callable[[Stored], None]:
    def change(found: Stored) -> None:
        found[part] = {name.replace(old, new): tensor for name, tensor in found[part].items()}

    return change


def less(part: str, name: str) -> Callable[[Stored], None]:
    def change(found: Stored) -> None:
        del found[part][name]

    return change


def cut(part: str, name: str) -> Callable[[Stored], None]:
    def change(found: Stored) -> None:
        found[part][name] = found[part][name][:-1]

    return change


WRONG = [
    (lambda found: found["style_image_proj"].clear(), "style_image_proj is missing"),
    (less("content_image_proj", "latents"), r"content_image_proj\.latents: missing"),
    (less("ip_adapter", "13.to_k_ip.weight"), r"ip_adapter\.13\.to_k_ip\.weight: missing"),
    (less("ip_adapter", "3.to_v_ip.weight"), r"ip_adapter\.3\.to_v_ip\.weight: missing"),
    (renamed("ip_adapter", "29.", "30."), r"ip_adapter\.30\.to_k_ip\.weight: the base model has no such"),
    (cut("ip_adapter", "15.to_v_ip.weight"), r"ip_adapter\.15\.to_v_ip\.weight: has shape \(63, 64\)"),
    (less("controlnet_adapter_modules", ADAPTER), "controlnet_adapter_modules.down_blocks.1.*to_k_ip.weight: missing"),
    (
        renamed("controlnet_adapter_modules", "down_blocks.1.attentions.0.transformer_blocks.0.attn2.processor", "1"),
        "to_k_ip.weight and 1 more adapter tensors: missing",
    ),
    (renamed("controlnet_adapter_modules", "conv_in.", "conv_out."), r"conv_out\.\w+: the ControlNet has no such"),
    (cut("controlnet_adapter_modules", "conv_in.bias"), "conv_in.bias: the ControlNet has no such tensor of its shape"),
    (lambda found: found.update(conv_in_unet_sd={"weight": torch.zeros(1)}), "conv_in_unet_sd"),
]


@pytest.mark.parametrize(("change", "text"), WRONG)
def test_a_wrong_layout_says_which_key(
    sdxl: StableDiffusion, tiny_root: Path, tmp_path: Path, change: Callable[[Stored], None], text: str
) -> None:
    found = stored()
    change(found)
    with pytest.raises(ModelUnusable, match=text):
        own(bench_on(fresh(sdxl), store(tiny_root, saved(found, tmp_path))))


def test_what_is_no_checkpoint_is_refused(sdxl: StableDiffusion, tiny_root: Path, tmp_path: Path) -> None:
    path = tmp_path / "csgo.safetensors"
    path.write_bytes(b"nothing")
    with pytest.raises(ModelUnusable, match="cannot be read"):
        own(bench_on(fresh(sdxl), store(tiny_root, path)))


def smaller(tiny_root: Path, folder: Path) -> Installed:
    """A checkpoint without the UNet's content adapters, as the released code would need it."""
    found = stored()
    found["ip_adapter"] = {n: tensor for n, tensor in found["ip_adapter"].items() if int(n.split(".")[0]) > 12}
    return store(tiny_root, saved(found, folder))


def test_content_adapters_are_needed_for_the_papers_wiring_only(
    sdxl: StableDiffusion, tiny_root: Path, tmp_path: Path
) -> None:
    context = bench_on(fresh(sdxl), smaller(tiny_root, tmp_path))
    [without] = latents(TECHNIQUE, context, asked())
    [with_all] = latents(TECHNIQUE, bench_on(sdxl, store(tiny_root)), asked())
    assert torch.equal(without, with_all)
    with pytest.raises(Refused, match="no content adapters for the UNet: leave content_in_unet out"):
        TECHNIQUE.prepare(asked(CSGOParams(content_in_unet=True)), context)


def test_another_first_convolution_is_used_and_taken_out_again(
    sdxl: StableDiffusion, tiny_root: Path, tmp_path: Path
) -> None:
    found = stored()
    found["conv_in_unet_sd"] = {name: 1.1 * tensor for name, tensor in sdxl.denoiser.conv_in.state_dict().items()}
    before = {name: tensor.clone() for name, tensor in sdxl.denoiser.conv_in.state_dict().items()}
    [other] = latents(TECHNIQUE, bench_on(fresh(sdxl), store(tiny_root, saved(found, tmp_path))), asked())
    [usual] = latents(TECHNIQUE, bench_on(sdxl, store(tiny_root)), asked())
    assert (other - usual).abs().max() > 1e-2
    assert "forward" not in vars(sdxl.denoiser.conv_in)
    assert all(torch.equal(tensor, before[name]) for name, tensor in sdxl.denoiser.conv_in.state_dict().items())
