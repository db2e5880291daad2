"""What is trained beside the starter's denoiser, against the loaders that serve it."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import ControlNetModel
from PIL import Image
from torch import Tensor, nn

from model_store.errors import WrongKeys
from model_store.load.component import load_component
from workers.techniques.encoder.csgo import checkpoint as csgo_checkpoint
from workers.techniques.encoder.deadiff import dims, math, reader
from workers.techniques.encoder.deadiff.checkpoint import DeadiffCheckpoint
from workers.training.starter.counterparts import counterpart
from workers.training.starter.networks import csgo, qformer
from workers.training.starter.networks.attention import StarterShown, cross_attentions
from workers.training.starter.networks.controlnet import OWN, build_controlnet, residuals, tiles, write_controlnet
from workers.training.starter.networks.image_encoder import build_image_encoder
from workers.training.starter.networks.patch_code import as_tensor
from workers.training.starter.networks.qformer_file import write_readers
from workers.training.starter.networks.unet import build_unet
from workers.training.starter.recipe import RECIPES, Stage
from workers.training.starter.split import HELD_OUT_INSTANCES, is_held_out
from workers.training.starter.stages.fitting import fit, restore, trained_state
from workers.training.starter.stages.qformer import QUERIES, references
from workers.training.starter.workspace import Workspace
from workers.training.starter.world.picture import PictureSpec, draw

NARROW = (16, 16, 32, 32)
CPU = RECIPES["cpu"]


@pytest.fixture
def picture() -> np.ndarray:
    return draw(PictureSpec("house", 3, "neon", 5)).copy()


def inputs(rows: int = 2) -> tuple[Tensor, Tensor, Tensor]:
    return torch.randn(rows, 8, 16, 16), torch.tensor([3, 700][:rows]), torch.randn(rows, 77, 128)


def test_readers_are_served_as_they_were_trained(picture, tmp_path) -> None:
    torch.manual_seed(0)
    readers, encoder = qformer.attach(build_unet(NARROW)), build_image_encoder().eval()
    write_readers(readers, encoder, tmp_path)
    stored = DeadiffCheckpoint(tmp_path / "deadiff_starter.safetensors", dims.read(tmp_path))
    with torch.no_grad():
        features = encoder(as_tensor(picture[None]), output_hidden_states=True).hidden_states[-2]
        for side in ("style", "content"):
            trained = readers.trained[side](features)[0]
            served = reader.load(side, stored, torch.float32).tokens(Image.fromarray(picture))
            assert served.shape == (qformer.TOKENS, 128)
            assert (served - trained).abs().max() < 0.02 * trained.abs().max()


def test_readers_are_shown_to_the_layers_that_serving_shows_them_to() -> None:
    readers = qformer.attach(build_unet(NARROW))
    layers = {slashed.replace("/", "."): layer.name for slashed, layer in readers.trained["layers"].items()}
    assert len(layers) == 16
    assert layers == {layer: math.side_of(layer) for layer in layers}


def test_joint_attention_sees_the_tokens_of_its_side() -> None:
    torch.manual_seed(0)
    unet = build_unet(NARROW)
    readers, (x, t, text) = qformer.attach(unet), inputs()
    drawn = []
    for style, content in ((0, 0), (1, 0), (0, 1)):
        readers.shown.tokens = {"style": style * torch.randn(2, 8, 128), "content": content * torch.randn(2, 8, 128)}
        drawn.append(unet(x, t, encoder_hidden_states=text).sample)
    drawn[1].square().mean().backward()
    layers = readers.trained["layers"].values()
    assert all((layer.to_v.weight.grad.abs().max() > 0) == (layer.name == "style") for layer in layers)
    assert all((drawn[0] - other).abs().max() > 1e-3 for other in drawn[1:])


def test_a_controlnet_is_stored_without_what_is_the_unets_own(tmp_path) -> None:
    torch.manual_seed(0)
    unet = build_unet(NARROW)
    net, (x, t, text) = build_controlnet(unet), inputs()
    plain = unet(x, t, encoder_hidden_states=text).sample
    held = unet(x, t, encoder_hidden_states=text, **residuals(net, x, t, text, torch.rand(2, 3, 128, 128))).sample
    assert torch.equal(plain, held)
    for parameter in net.controlnet_down_blocks.parameters():
        parameter.data.normal_()
    write_controlnet(net, tmp_path)
    loaded = load_component(tmp_path, ControlNetModel, dtype=torch.float32, others=unet.state_dict())
    for name, tensor in net.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], tensor.half().float() if name.startswith(OWN) else tensor), name
    with pytest.raises(WrongKeys, match="missing"):
        load_component(tmp_path, ControlNetModel, dtype=torch.float32)


def test_tiles_are_smaller_pictures_made_large_again() -> None:
    pictures = torch.rand(3, 3, 16, 16)
    shown = tiles(pictures, torch.tensor([1, 2, 4]))
    assert torch.equal(shown[0], pictures[0])
    details = [(each - each.mean()).square().mean() for each in shown]
    assert details[0] > details[1] > details[2] > 0


def test_a_composer_is_written_in_the_authors_layout(tmp_path) -> None:
    torch.manual_seed(0)
    unet = build_unet(NARROW)
    net = build_controlnet(unet)
    composer = csgo.attach(unet, net)
    csgo.write_composer(composer, unet, tmp_path / "csgo.safetensors")
    stored, plain = csgo_checkpoint.read(tmp_path / "csgo.safetensors"), build_unet(NARROW)
    stored.check_unet(plain)
    assert stored.controlnet_values(net) == {}
    assert [len(stored.style_in_unet(plain)), len(stored.content_in_unet(plain))] == [9, 6]
    assert len(stored.style_in_controlnet(ControlNetModel.from_unet(plain))) == 6
    features = torch.randn(1, 65, 128)
    for side, projection in (("style", stored.style), ("content", stored.content)):
        weights = {name: tensor.float() for name, tensor in projection.image_proj.items()}
        served = plain._convert_ip_adapter_image_proj_to_diffusers(weights)(features)
        assert torch.allclose(served, composer.trained[side](features), atol=1e-2)


def test_content_tokens_without_scale_change_nothing() -> None:
    torch.manual_seed(0)
    unet = build_unet(NARROW)
    composer, (x, t, text) = csgo.attach(unet, build_controlnet(unet)), inputs()
    drawn = []
    for content, scale in ((1, 0.0), (2, 0.0), (2, 1.0)):
        tokens = torch.full((2, 4, 128), float(content))
        composer.shown.tokens, composer.shown.scale = {"style": torch.ones(2, 8, 128), "content": tokens}, {}
        composer.shown.scale["content"] = scale
        drawn.append(unet(x, t, encoder_hidden_states=text).sample)
    assert torch.equal(drawn[0], drawn[1])
    assert (drawn[1] - drawn[2]).abs().max() > 1e-4


def test_a_counterpart_has_the_same_content_in_another_style_that_training_may_see() -> None:
    for seed, name in enumerate(CPU.objects * 4):
        spec = PictureSpec(name, seed, CPU.styles[seed % len(CPU.styles)], seed)
        other = counterpart(spec, CPU, seed)
        assert other == counterpart(spec, CPU, seed)
        assert (other.object_name, other.scene_seed) == (spec.object_name, spec.scene_seed)
        assert other.style in set(CPU.styles) - {spec.style}
        assert not is_held_out(other.object_name, other.style)
        assert other.style_seed < HELD_OUT_INSTANCES


def test_queries_read_the_picture_that_they_are_about() -> None:
    class Pictures:
        images = np.arange(6, dtype=np.uint8)[:, None, None, None] * np.ones((6, 2, 2, 3), dtype=np.uint8)

    class Half:
        pictures, others = Pictures, 100 + Pictures.images

    seen = references(Half, np.array([0, 3, 4]), list(QUERIES))  # type: ignore[arg-type]
    assert seen["style"][:, 0, 0, 0].tolist() == [1, 2, 4]
    assert seen["content"][:, 0, 0, 0].tolist() == [100, 103, 4]


def test_a_stage_resumes_where_it_was_interrupted(tmp_path: Path) -> None:
    def trained(folder: Path, *ends: int) -> Tensor:
        folder.mkdir()
        space = Workspace(CPU, folder, torch.device("cpu"))
        for end in ends:
            torch.manual_seed(0)
            model = nn.Linear(4, 4)
            model.bias.requires_grad_(False)
            stage = replace(Stage(100, 1, 1e-2, 1), steps=end)
            fit(space, "part", stage, model, lambda step, m=model: m(torch.full((1, 4), 1.0 + step)).square().mean())
        assert trained_state(space, "part").keys() == {"weight"}
        with pytest.raises(ValueError, match="bias"):
            restore(nn.Linear(4, 4), trained_state(space, "part"))
        return trained_state(space, "part")["weight"]

    once, again = trained(tmp_path / "once", 4), trained(tmp_path / "again", 4, 4)
    assert torch.equal(once, again)
    assert not torch.equal(once, trained(tmp_path / "further", 4, 6))


def test_layers_are_numbered_as_in_the_published_files() -> None:
    numbers = [number for number, _ in cross_attentions(build_unet(NARROW))]
    assert numbers == list(range(1, 32, 2))
    assert StarterShown().tokens == {}
