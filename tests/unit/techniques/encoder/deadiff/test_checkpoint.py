"""The authors' layout, whole and broken, through the conversion and into the models."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import init_empty_weights
from diffusers.loaders.single_file_utils import convert_ldm_unet_checkpoint
from safetensors.torch import load_file, save_file
from torch import Tensor

from model_store.convert.keymap import keymap_of
from model_store.convert.pickled import convert_pickled
from model_store.errors import ConversionFailed
from tests.support.techniques.encoder_samples import bench_on, inputs, latents, nothing_installed
from tests.unit.techniques.encoder.deadiff.conftest import WEIGHTS
from workers.engine.backbones.load import load
from workers.engine.backbones.stable_diffusion import StableDiffusion
from workers.engine.errors import ModelUnusable, WeightsMissing
from workers.techniques.encoder.deadiff import checkpoint, dims, own_weights, reader
from workers.techniques.encoder.deadiff.checkpoint import DeadiffCheckpoint
from workers.techniques.encoder.deadiff.dims import Dims
from workers.techniques.encoder.deadiff.reader import Reader
from workers.techniques.encoder.deadiff.spec import DeadiffParams
from workers.techniques.encoder.deadiff.technique import Deadiff

Installed = Callable[[str], Path]
TECHNIQUE, PARAMS = Deadiff(), DeadiffParams()
MIDDLE = "model.diffusion_model.middle_block.1.transformer_blocks.0.attn2"


@pytest.fixture(scope="module")
def theirs() -> dict[str, Tensor]:
    found: dict[str, Tensor] = torch.load(WEIGHTS / "deadiff_v1.ckpt", weights_only=True)["state_dict"]
    return found


@pytest.fixture
def changed(folder: Path, tmp_path: Path) -> Callable[..., Installed]:
    """Give a store with a changed copy of the installed checkpoint."""

    def change(edit: Callable[[dict[str, Tensor]], Any]) -> Installed:
        tensors = load_file(folder / "deadiff.safetensors")
        edit(tensors)
        save_file(tensors, tmp_path / "deadiff.safetensors")
        shutil.copyfile(folder / "dims.json", tmp_path / "dims.json")
        return lambda model: tmp_path

    return change


def test_the_conversion_keeps_what_is_used_and_can_be_undone(theirs: dict[str, Tensor], folder: Path) -> None:
    ours, rules = load_file(folder / "deadiff.safetensors"), keymap_of("deadiff")
    assert all(torch.equal(tensor, theirs[rules.stored_name_of(name)]) for name, tensor in ours.items())
    unused = ("betas", "ctx_embeddings_cache", "alphas_cumprod", "sqrt_", "log_", "posterior_")
    left = {name for name in theirs if rules.name_of(name) is None}
    assert {name for name in left if "_blip." not in name and not name.startswith(unused)} == set()
    heads = (".Qformer.cls.", "_proj.", ".itm_head.", ".temp", "position_ids")
    assert all(any(head in name for head in heads) for name in left if "_blip." in name)


def test_the_published_sizes_ask_for_the_published_names() -> None:
    with init_empty_weights(include_buffers=False):
        real = Reader("content", Dims(), 512)
    rules = keymap_of("deadiff")
    names = {rules.stored_name_of(f"content_{name}"): shape for name, shape in reader._expected(real).items()}
    assert all(rules.name_of(name) is not None for name in names)
    assert not any("qformer" in name or ".vision." in name for name in names)
    tower = "content_blip.visual_encoder."
    assert names[f"{tower}transformer.resblocks.22.attn.in_proj_weight"] == (3072, 1024)
    assert names[f"{tower}transformer.resblocks.22.mlp.c_fc.bias"] == (4096,)
    assert names[f"{tower}positional_embedding"] == (257, 1024)
    assert f"{tower}transformer.resblocks.23.ln_1.weight" not in names
    bert = "content_blip.Qformer.bert."
    assert names[f"{bert}encoder.layer.11.crossattention.self.key.weight"] == (768, 1024)
    assert names[f"{bert}encoder.layer.11.output_query.LayerNorm.bias"] == (768,)
    assert names[f"{bert}embeddings.word_embeddings.weight"] == (30523, 768)
    assert names["content_blip.query_tokens"] == (1, 16, 768)
    assert names["content_proj_layer.dense1.weight"] == (3072, 768)


def test_every_attention_gets_its_own_projections(
    theirs: dict[str, Tensor], sd15: StableDiffusion, folder: Path
) -> None:
    found = checkpoint.added_tensors(DeadiffCheckpoint(folder / "deadiff.safetensors", dims.read(folder)), sd15)
    assert len(found) == 32
    k, v = checkpoint.added("mid_block.attentions.0.transformer_blocks.0.attn2.processor")
    assert torch.equal(found[k], theirs[f"{MIDDLE}.i_to_k.weight"])
    assert torch.equal(found[v], theirs[f"{MIDDLE}.i_to_v.weight"])


def test_the_models_weights_become_the_checkpoints_and_nothing_is_kept_twice(
    theirs: dict[str, Tensor], sd15: StableDiffusion, folder: Path
) -> None:
    own = own_weights.get_or_load(DeadiffCheckpoint(folder / "deadiff.safetensors", dims.read(folder)), sd15)
    assert not own.unet.replaced
    assert not own.text.replaced
    expected = convert_ldm_unet_checkpoint(theirs, sd15.denoiser.config)
    with own.in_unet(sd15), own.in_text_encoder(sd15):
        parameters = dict(sd15.denoiser.named_parameters())
        assert all(torch.equal(parameter, expected[name].float()) for name, parameter in parameters.items())
        norm = next(p for n, p in sd15.pipe.text_encoder.named_parameters() if n.endswith("final_layer_norm.weight"))
        assert torch.equal(norm, theirs["cond_stage_model.transformer.text_model.final_layer_norm.weight"].float())


def test_weights_of_its_own_are_used(sd15: StableDiffusion, installed: Installed, changed: Any) -> None:
    def tune(tensors: dict[str, Tensor]) -> None:
        tensors["model.diffusion_model.out.2.weight"] *= 1.5
        tensors["model.diffusion_model.out.2.bias"] *= 1.5

    context = bench_on(sd15, changed(tune))
    own = own_weights.get_or_load(checkpoint.find_checkpoint(context), sd15)
    assert set(own.unet.replaced) == {"conv_out.weight", "conv_out.bias"}
    [tuned], [published] = (
        latents(TECHNIQUE, context, inputs(PARAMS)),
        latents(TECHNIQUE, bench_on(sd15, installed), inputs(PARAMS)),
    )
    assert not torch.allclose(tuned, published, atol=0.01)


def remove(name: str) -> Callable[[dict[str, Tensor]], Any]:
    return lambda tensors: tensors.pop(name)


def cut(name: str) -> Callable[[dict[str, Tensor]], Any]:
    return lambda tensors: tensors.update({name: tensors[name][:-1].clone()})


def put(name: str) -> Callable[[dict[str, Tensor]], Any]:
    return lambda tensors: tensors.update({name: torch.zeros(2)})


@pytest.mark.parametrize(
    ("edit", "key"),
    [
        (remove("style_blip.query_tokens"), "style_blip.query_tokens"),
        (remove("style_proj_layer.dense2.bias"), "style_proj_layer.dense2.bias"),
        (cut("style_blip.vision.encoder.layers.1.self_attn.in_proj_weight"), "layers.1.self_attn.in_proj_weight"),
        (put("style_blip.qformer.encoder.layer.3.output.dense.bias"), "layer.3.output.dense.bias"),
        (remove(f"{MIDDLE}.i_to_v.weight"), "mid_block.attentions.0.transformer_blocks.0.attn2.i_to_v.weight"),
        (cut(f"{MIDDLE}.i_to_k.weight"), f"{MIDDLE}.i_to_k.weight"),
        (remove("model.diffusion_model.time_embed.0.weight"), "time_embedding.linear_1.weight"),
        (put("model.diffusion_model.strange.weight"), "model.diffusion_model.strange.weight"),
        (remove("cond_stage_model.transformer.text_model.final_layer_norm.bias"), "final_layer_norm.bias"),
    ],
)
def test_another_layout_is_refused_with_its_key(sd15: StableDiffusion, changed: Any, edit: Any, key: str) -> None:
    with pytest.raises(ModelUnusable, match=key.replace(".", r"\.")):
        TECHNIQUE.prepare(inputs(PARAMS), bench_on(sd15, changed(edit)))


def test_a_file_without_the_authors_root_is_not_converted(tmp_path: Path, theirs: dict[str, Tensor]) -> None:
    torch.save({"model": theirs}, tmp_path / "other.ckpt")
    with pytest.raises(ConversionFailed, match="state_dict"):
        convert_pickled(tmp_path / "other.ckpt", tmp_path / "deadiff.safetensors", "deadiff")


def test_the_authors_file_itself_is_refused_with_the_command_that_converts_it(sd15: StableDiffusion) -> None:
    file = WEIGHTS / "deadiff_v1.ckpt"
    with pytest.raises(ModelUnusable, match=rf"run: stylize models convert {file} .*\.safetensors --keymap deadiff"):
        TECHNIQUE.prepare(inputs(PARAMS), bench_on(sd15, lambda model: file))


def test_sizes_that_are_no_sizes_are_refused(sd15: StableDiffusion, folder: Path, tmp_path: Path) -> None:
    shutil.copyfile(folder / "deadiff.safetensors", tmp_path / "deadiff.safetensors")
    (tmp_path / "dims.json").write_text(json.dumps({"vision": {"layers": 0}}))
    with pytest.raises(ModelUnusable, match=r"dims\.json"):
        TECHNIQUE.prepare(inputs(PARAMS), bench_on(sd15, lambda model: tmp_path))


def test_what_is_missing_is_named_with_the_command_that_fetches_it(sd15: StableDiffusion, tmp_path: Path) -> None:
    for weights in (nothing_installed, lambda model: tmp_path):
        with pytest.raises(WeightsMissing, match="stylize models pull deadiff"):
            TECHNIQUE.prepare(inputs(PARAMS), bench_on(sd15, weights))


def test_an_adapter_beside_the_base_model_needs_neither_base_weights_nor_store(
    sd15: StableDiffusion, tiny_root: Path, folder: Path, tmp_path: Path, installed: Installed
) -> None:
    shutil.copytree(tiny_root / "sd15", tmp_path / "own")
    own = tmp_path / "own" / "deadiff"
    own.mkdir()
    shutil.copyfile(folder / "dims.json", own / "dims.json")
    tensors = load_file(folder / "deadiff.safetensors")
    adapter = checkpoint.added_tensors(DeadiffCheckpoint(folder / "deadiff.safetensors", dims.read(folder)), sd15)
    adapter |= {name: tensor for name, tensor in tensors.items() if name.startswith(("style_", "content_"))}
    save_file(adapter, own / "deadiff.safetensors")
    params = DeadiffParams(base_weights="model")
    [expected] = latents(TECHNIQUE, bench_on(sd15, installed), inputs(params))
    backbone = load(tmp_path / "own")
    for asked in (params, PARAMS):
        [found] = latents(TECHNIQUE, bench_on(backbone, nothing_installed), inputs(asked))
        assert torch.equal(found, expected)
