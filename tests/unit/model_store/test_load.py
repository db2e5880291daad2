import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from diffusers import AutoencoderKL, StableDiffusionPipeline, StableDiffusionXLPipeline, UNet2DConditionModel
from safetensors.torch import load_file, save_file
from transformers import CLIPTextModel, CLIPTextModelWithProjection, CLIPVisionModelWithProjection

from model_store.catalogue.entry import Base
from model_store.errors import MalformedFile, NotInstalled, WrongKeys
from model_store.load.base import load_base
from model_store.load.component import load_component
from model_store.load.tensors import load_tensors

Tiny = Callable[[str], Path]
EVERY = [
    ("sd15/unet", UNet2DConditionModel),
    ("sd15/vae", AutoencoderKL),
    ("sd15/text_encoder", CLIPTextModel),
    ("sdxl/unet", UNet2DConditionModel),
    ("sdxl/text_encoder_2", CLIPTextModelWithProjection),
    ("clip-vision/.", CLIPVisionModelWithProjection),
]


@pytest.mark.parametrize(("where", "kind"), EVERY)
def test_a_component_is_the_libraries_own(where: str, kind: type, tiny: Tiny) -> None:
    name, _, part = where.partition("/")
    folder = tiny(name) / part
    ours = load_component(folder, kind)
    theirs = kind.from_pretrained(folder, local_files_only=True, use_safetensors=True)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    assert all(torch.equal(tensor, theirs.state_dict()[key]) for key, tensor in ours.state_dict().items())
    buffers = dict(theirs.named_buffers())
    assert all(torch.equal(buffer, buffers[key]) for key, buffer in ours.named_buffers())
    assert not ours.training
    assert not any(parameter.requires_grad for parameter in ours.parameters())


def test_a_type_asked_for_is_the_type_of_every_parameter(tiny: Tiny) -> None:
    unet = load_component(tiny("sd15") / "unet", UNet2DConditionModel, dtype=torch.bfloat16)
    assert {parameter.dtype for parameter in unet.parameters()} == {torch.bfloat16}
    assert unet.dtype == torch.bfloat16


def test_writing_to_a_loaded_tensor_does_not_reach_the_file(tmp_path: Path) -> None:
    save_file({"a": torch.zeros(4)}, tmp_path / "x.safetensors")
    load_tensors(tmp_path / "x.safetensors")["a"].add_(1)
    assert torch.equal(load_file(tmp_path / "x.safetensors")["a"], torch.zeros(4))


def test_sharded_weights_are_put_together(tiny: Tiny, tmp_path: Path) -> None:
    source = tiny("sd15") / "vae"
    tensors = load_file(source / "diffusion_pytorch_model.safetensors")
    names = sorted(tensors)
    shards = {"part-1.safetensors": names[::2], "part-2.safetensors": names[1::2]}
    for file, held in shards.items():
        save_file({name: tensors[name] for name in held}, tmp_path / file)
    index = {"metadata": {}, "weight_map": {name: file for file, held in shards.items() for name in held}}
    (tmp_path / "diffusion_pytorch_model.safetensors.index.json").write_text(json.dumps(index))
    (tmp_path / "config.json").write_bytes((source / "config.json").read_bytes())
    loaded = load_component(tmp_path, AutoencoderKL).state_dict()
    assert all(torch.equal(loaded[name], tensors[name]) for name in names)
    save_file(
        {**{name: tensors[name] for name in names[1::2]}, names[0]: tensors[names[0]]}, tmp_path / "part-2.safetensors"
    )
    with pytest.raises(WrongKeys, match=r"part-2\.safetensors.*stands in part-1\.safetensors too"):
        load_component(tmp_path, AutoencoderKL)


def test_a_tower_of_a_larger_file_is_taken_out(tiny: Tiny, tmp_path: Path) -> None:
    source = tiny("sdxl") / "text_encoder_2"
    tensors = load_file(source / "model.safetensors")
    both = {**tensors, "vision_model.x": torch.zeros(1), "logit_scale": torch.zeros(())}
    save_file(both, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_bytes((source / "config.json").read_bytes())
    with pytest.raises(WrongKeys, match=r"model\.safetensors: logit_scale: the model has no such tensor"):
        load_component(tmp_path, CLIPTextModelWithProjection)
    text = load_component(tmp_path, CLIPTextModelWithProjection, skip=(r"^vision_model\.", "^logit_scale$"))
    assert torch.equal(text.text_projection.weight, tensors["text_projection.weight"])


def test_expected_names_and_shapes_are_checked_before_anything_is_read(tmp_path: Path) -> None:
    file = tmp_path / "x.safetensors"
    save_file({"a": torch.zeros(2, 3), "b": torch.zeros(1, dtype=torch.int64)}, file)
    good = {"a": (2, 3), "b": (1,)}
    assert load_tensors(file, expected=good, dtype=torch.half)["a"].dtype == torch.half
    assert load_tensors(file, expected=good, dtype=torch.half)["b"].dtype == torch.int64
    for expected, words in (
        ({"a": (2, 3)}, "b: the model has no such tensor"),
        ({"a": (3, 2), "b": (1,)}, r"a: has shape \[2, 3\], the model needs \[3, 2\]"),
        ({**good, "c": (1,), "d": (1,)}, "c and 1 more: missing"),
    ):
        with pytest.raises(WrongKeys, match=rf"x\.safetensors: {words}"):
            load_tensors(file, expected=expected)
    with pytest.raises(WrongKeys, match="means the same as"):
        load_tensors(file, rename=lambda name: "one")
    assert list(load_tensors(file, rename=lambda name: None if name == "b" else "new")) == ["new"]


def test_what_is_no_model_or_has_no_description_is_refused(tiny: Tiny, tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="Linear is no model"):
        load_component(tiny("sd15") / "unet", torch.nn.Linear)
    with pytest.raises(NotInstalled, match="no safetensors weights"):
        load_component(tmp_path, UNet2DConditionModel)
    save_file({"a": torch.zeros(1)}, tmp_path / "model.safetensors")
    with pytest.raises(NotInstalled, match=r"config\.json is missing"):
        load_component(tmp_path, UNet2DConditionModel)


@pytest.mark.parametrize(("base", "pipeline"), [("sd15", StableDiffusionPipeline), ("sdxl", StableDiffusionXLPipeline)])
def test_a_base_model_is_what_the_pipeline_would_load(base: Base, pipeline: type, tiny: Tiny) -> None:
    none = {"safety_checker": None, "feature_extractor": None, "requires_safety_checker": False}
    extra = none if base == "sd15" else {}
    ours = pipeline(**load_base(tiny(base), base), **extra)
    theirs = pipeline.from_pretrained(tiny(base), local_files_only=True, use_safetensors=True, **extra)
    asked = {"prompt": "a fox", "num_inference_steps": 2, "output_type": "latent", "height": 64, "width": 64}
    pictures = [each(**asked, generator=torch.Generator().manual_seed(1)).images for each in (ours, theirs)]
    assert torch.equal(*pictures)


def test_a_scheduler_is_one_of_the_librarys(tiny: Tiny, tmp_path: Path) -> None:
    shutil.copytree(tiny("sd15"), tmp_path / "copy")
    config = tmp_path / "copy" / "scheduler" / "scheduler_config.json"
    for name in ("os.system", "StableDiffusionPipeline", "UnknownScheduler", 3):
        config.write_text(json.dumps({"_class_name": name}))
        with pytest.raises(MalformedFile, match="is no scheduler"):
            load_base(tmp_path / "copy", "sd15")
    shutil.rmtree(tmp_path / "copy" / "tokenizer")
    with pytest.raises(NotInstalled, match="tokenizer is missing"):
        load_base(tmp_path / "copy", "sd15")
