"""What a checkpoint states of its model beside the weights gets into its folder, and contradictions are refused."""

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from model_store.add.add import add
from model_store.add.stated import stated_scheduler, stated_side
from model_store.errors import BadCheckpoint, MalformedFile, WrongKeys
from model_store.load.header import Header, read_header
from tests.support import layouts

Tiny = Callable[[str], Path]
V, ZERO = "v_pred", "ztsnr"
TRAILING = {"prediction_type": "v_prediction", "rescale_betas_zero_snr": True, "timestep_spacing": "trailing"}


def marked(folder: Path, *tensors: str, **metadata: str) -> Header:
    file = folder / "marked.safetensors"
    save_file({name: torch.zeros(0) for name in (*tensors, "some")}, file, metadata)
    return read_header(file)


@pytest.mark.parametrize(
    ("tensors", "metadata", "expected"),
    [
        ((), {}, {}),
        ((V,), {}, {"prediction_type": "v_prediction"}),
        ((V, ZERO), {}, TRAILING),
        ((), {"modelspec.prediction_type": "v"}, {"prediction_type": "v_prediction"}),
        ((), {"modelspec.prediction_type": "V-Prediction"}, {"prediction_type": "v_prediction"}),
        ((), {"modelspec.prediction_type": "epsilon"}, {"prediction_type": "epsilon"}),
        ((), {"ss_v_parameterization": "True"}, {"prediction_type": "v_prediction"}),
        ((), {"ss_v_parameterization": "False"}, {"prediction_type": "epsilon"}),
        ((), {"ss_v_parameterization": "None", "modelspec.prediction_type": ""}, {}),
        ((ZERO,), {"modelspec.prediction_type": "v", "ss_v_parameterization": "true"}, TRAILING),
        ((), {"ss_v_parameterization": "True", "ss_zero_terminal_snr": "True"}, TRAILING),
        ((V,), {"ss_zero_terminal_snr": "False"}, {"prediction_type": "v_prediction"}),
    ],
)
def test_what_is_stated(
    tensors: tuple[str, ...], metadata: Mapping[str, str], expected: dict[str, Any], tmp_path: Path
) -> None:
    assert stated_scheduler(marked(tmp_path, *tensors, **metadata)) == expected


@pytest.mark.parametrize(
    ("tensors", "metadata", "words"),
    [
        (
            (V,),
            {"modelspec.prediction_type": "epsilon"},
            "tensor v_pred says v_.*modelspec.prediction_type says epsilon",
        ),
        ((V,), {"ss_v_parameterization": "False"}, "tensor v_pred says v_.*ss_v_parameterization says epsilon"),
        (
            (),
            {"modelspec.prediction_type": "v", "ss_v_parameterization": "False"},
            "modelspec.prediction_type says v_.*ss_v_parameterization says epsilon",
        ),
        ((ZERO,), {}, "ztsnr says zero terminal SNR.*nothing says v_prediction"),
        ((ZERO,), {"ss_v_parameterization": "False"}, "ztsnr says zero.*ss_v_parameterization says epsilon"),
        ((), {"ss_zero_terminal_snr": "True"}, "ss_zero_terminal_snr says zero"),
        ((), {"modelspec.prediction_type": "flow"}, "served are epsilon and v"),
        ((), {"ss_v_parameterization": "maybe"}, "neither true nor false"),
        (("edm_vpred.sigma_max", V), {}, "EDM"),
        (("edm_mean",), {}, "EDM"),
    ],
)
def test_what_contradicts_itself_or_is_not_served_is_refused(
    tensors: tuple[str, ...], metadata: Mapping[str, str], words: str, tmp_path: Path
) -> None:
    with pytest.raises(WrongKeys, match=words):
        stated_scheduler(marked(tmp_path, *tensors, **metadata))


@pytest.mark.parametrize(
    ("resolution", "side"),
    [("768x768", 768), ("1024", 1024), ("768x512", None), ("", None), ("9999x9999", None), ("770x770", None)],
)
def test_the_native_size(resolution: str, side: int | None, tmp_path: Path) -> None:
    assert stated_side(marked(tmp_path, **{"modelspec.resolution": resolution})) == side


def test_a_single_file_keeps_what_it_states(tiny: Tiny, store: Path, tmp_path: Path) -> None:
    whole = layouts.single_file(tiny("sd15")) | {V: torch.zeros(0), ZERO: torch.zeros(0)}
    save_file(whole, tmp_path / "mine.safetensors", {"modelspec.resolution": "128x128"})
    entry = add(tmp_path / "mine.safetensors", "mine", store, configs=tiny("sd15"))
    written = json.loads((store / "models" / "mine" / "scheduler" / "scheduler_config.json").read_bytes())
    assert {name: written[name] for name in TRAILING} == TRAILING
    assert written["beta_schedule"] == "scaled_linear"
    assert entry.native_size == 128


def test_a_pickled_checkpoint_keeps_what_it_states(tiny: Tiny, store: Path, tmp_path: Path) -> None:
    whole = layouts.single_file(tiny("sd15")) | {V: torch.zeros(0)}
    torch.save({"state_dict": whole}, tmp_path / "mine.ckpt")
    add(tmp_path / "mine.ckpt", "mine", store, configs=tiny("sd15"))
    written = json.loads((store / "models" / "mine" / "scheduler" / "scheduler_config.json").read_bytes())
    assert (written["prediction_type"], written["rescale_betas_zero_snr"]) == ("v_prediction", False)


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"rescale_betas_zero_snr": True}, "rescale_betas_zero_snr is true.*prediction_type is epsilon"),
        ({"prediction_type": "flow"}, "prediction_type is 'flow'"),
        ({"_class_name": "FlowMatchEulerDiscreteScheduler"}, "noise levels of another kind"),
        ({"_class_name": "StableDiffusionPipeline"}, "no scheduler of diffusers"),
        ({"beta_schedule": "odd"}, "odd"),
    ],
)
def test_a_folder_whose_scheduler_no_job_could_use_is_refused(
    config: dict[str, object], words: str, tiny: Tiny, store: Path, tmp_path: Path
) -> None:
    shutil.copytree(tiny("sd15"), tmp_path / "copy")
    file = tmp_path / "copy" / "scheduler" / "scheduler_config.json"
    file.write_text(json.dumps({**json.loads(file.read_bytes()), **config}))
    with pytest.raises((WrongKeys, MalformedFile), match=words):
        add(tmp_path / "copy", "mine", store)
    assert not (store / "models" / "mine").exists()


def test_an_inpainting_checkpoint_says_what_it_is(tiny: Tiny, store: Path, tmp_path: Path) -> None:
    whole = layouts.single_file(tiny("sd15"))
    name = "model.diffusion_model.input_blocks.0.0.weight"
    whole[name] = torch.cat([whole[name], torch.zeros(whole[name].shape[0], 5, 3, 3)], dim=1)
    save_file(whole, tmp_path / "mine.safetensors")
    with pytest.raises(BadCheckpoint, match="an inpainting, editing or SD2 model is not served"):
        add(tmp_path / "mine.safetensors", "mine", store, configs=tiny("sd15"))
