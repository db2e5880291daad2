"""Maps made of photographs: as the recorded cases say, kept, and worth the same as when they are posted."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from pydantic import ValidationError
from torch import Tensor

from tests.parity.case import Case, find
from tests.support.models import flux_of
from workers.engine.backbones.base import Backbone
from workers.engine.backbones.stable_diffusion import StableDiffusion
from workers.engine.cache.style_cache import RequestCache, StyleCache
from workers.engine.cache.tiers import MemoryTier
from workers.engine.denoise import Trajectory, denoise
from workers.engine.errors import ModelUnusable, Refused
from workers.engine.images import to_signed
from workers.engine.noise import SeededNoise
from workers.engine.technique import GenerationInputs, Pictures, PrepareContext, Technique
from workers.techniques.control_maps import depth_map
from workers.techniques.control_params import ControlParams
from workers.techniques.control_picture import ControlPicture, control_picture
from workers.techniques.encoder.redux.spec import ReduxParams
from workers.techniques.encoder.redux.technique import Redux
from workers.techniques.shared_attention.style_aligned.spec import StyleAlignedParams
from workers.techniques.shared_attention.style_aligned.technique import StyleAligned

CASES = Path(__file__).parents[2] / "parity" / "cases" / "flux"
WEIGHTS = {
    "depth-anything-v2-small": "depth-anything",
    "flux1-redux": "flux-redux",
    "flux1-canny-lora": "flux-control-lora",
}
Run = Callable[..., Trajectory]


def photograph() -> Image.Image:
    """A picture with edges and a gradient, larger than what is asked for."""
    rows, columns = np.mgrid[0:150, 0:200]
    discs = ((rows - 70) ** 2 + (columns - 90) ** 2 < 45**2) * 160
    return Image.fromarray(np.stack([rows, columns, discs], axis=2).clip(0, 255).astype(np.uint8))


def asked(params: ControlParams, side: int = 64, **pictures: Any) -> GenerationInputs:
    shown = Pictures((photograph().rotate(180),), **pictures)
    fields: dict[str, Any] = {"prompts": ("a cat",), "seeds": (3,), "noise": SeededNoise((3,)), "pictures": shown}
    return GenerationInputs(**fields, width=side, height=side, steps=2, guidance_scale=3.0, params=params)


def context_of(backbone: Backbone, root: Path, **further: Path) -> PrepareContext:
    found = {name: root / folder for name, folder in WEIGHTS.items()} | {
        name.replace("_", "-"): path for name, path in further.items()
    }
    return PrepareContext(backbone, RequestCache(StyleCache([MemoryTier("host", 1 << 28)])), found.__getitem__)


def latents(technique: Technique, inputs: GenerationInputs, context: PrepareContext) -> tuple[Tensor, Any]:
    """Return the final latents of a request, and the map that is kept with it."""
    trajectory = technique.prepare(inputs, context)
    with technique.patch(context.backbone, [trajectory]) as hooks:
        denoise(context.backbone.predict, [trajectory], hooks=hooks)
    return trajectory.latents, trajectory.control_map


def case_named(name: str, tiny_root: Path) -> Case:
    [found] = find(CASES / name, tiny_root.parent)
    return found


def made_for(case: Case, params: ControlParams, context: PrepareContext) -> Image.Image:
    inputs = asked(params, control=case.picture("content_image"))
    found = control_picture(replace(inputs, width=case.facts["width"], height=case.facts["height"]), params, context)
    assert found is not None
    assert found.shown is found.image
    return found.image


def test_edges_are_those_of_the_recorded_case(tiny_root: Path) -> None:
    case = case_named("canny-map", tiny_root)
    params = ReduxParams(control_source="canny")
    assert (params.low_threshold, params.high_threshold) == (50, 200)
    made = made_for(case, params, context_of(flux_of(tiny_root, "flux-control"), tiny_root))
    assert torch.equal(torch.from_numpy(np.array(made)), case.expected["control_image"])


def test_depths_are_those_of_the_recorded_case_but_for_8_bits(tiny_root: Path) -> None:
    case = case_named("depth-map", tiny_root)
    params = ReduxParams(control_source="depth")
    made = made_for(case, params, context_of(flux_of(tiny_root, "flux-control"), tiny_root))
    assert (to_signed(made) - case.expected["control"]).abs().max() <= 1 / 255 + 1e-3


@pytest.mark.parametrize(("depth_range", "expected"), [("minmax", -1.0), ("raw", 51 / 127.5 - 1)])
def test_a_picture_of_one_depth_is_a_constant_map(depth_range: Any, expected: float) -> None:
    found = depth_map(torch.full((1, 5, 7), 51.0), 24, 16, depth_range)
    assert found.shape == (1, 3, 16, 24)
    assert torch.allclose(found, torch.full_like(found, expected))


@pytest.mark.parametrize(("base", "source"), [("flux-control", "canny"), ("flux-control", "depth"), ("flux", "canny")])
def test_redux_with_a_made_map_is_redux_with_that_map_posted(tiny_root: Path, base: Any, source: Any) -> None:
    context = context_of(flux_of(tiny_root, base), tiny_root)
    made, shown = latents(Redux(), asked(ReduxParams(control_source=source), control=photograph()), context)
    posted, none = latents(Redux(), asked(ReduxParams(control=source), control=shown), context)
    assert torch.equal(made, posted)
    assert none is None
    direct, _ = latents(Redux(), asked(ReduxParams(control=source), control=photograph()), context)
    assert not torch.equal(made, direct)


def test_redux_makes_the_map_of_the_content_picture_when_no_other_is_given(tiny_root: Path) -> None:
    context = context_of(flux_of(tiny_root, "flux-control"), tiny_root)
    params = ReduxParams(control="canny", content_strength=1.0)
    of_content, shown = latents(Redux(), asked(params, content=photograph()), context)
    of_control, also = latents(Redux(), asked(ReduxParams(control_source="canny"), control=photograph()), context)
    assert torch.equal(of_content, of_control)
    assert shown.tobytes() == also.tobytes()
    with pytest.raises(Refused, match="takes a control_image, or a content_image"):
        Redux().prepare(asked(params), context)


@pytest.mark.parametrize("source", ["canny", "depth"])
def test_style_aligned_with_a_made_map_is_that_with_the_map_posted(
    sd15: StableDiffusion, tiny_root: Path, controlnet: Path, source: Any
) -> None:
    context = context_of(sd15, tiny_root, controlnet_canny_sd15=controlnet, controlnet_depth_sd15=controlnet)
    common: dict[str, Any] = {"reference_prompt": "a dog", "control_on_reference": True}
    params = StyleAlignedParams(**common, control_source=source)
    made, shown = latents(StyleAligned(), asked(params, 128, control=photograph()), context)
    posted, none = latents(
        StyleAligned(), asked(StyleAlignedParams(**common, control=source), 128, control=shown), context
    )
    assert torch.equal(made, posted)
    assert none is None
    assert shown.size == (128, 128)


def test_a_map_and_its_latents_are_made_once_for_a_picture_and_size(
    tiny_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = context_of(flux_of(tiny_root, "flux-control"), tiny_root)
    built: list[str] = []
    get = RequestCache.get

    def counted(cache: RequestCache, key: str, build: Any, **more: Any) -> Any:
        return get(cache, key, lambda: [built.append(key), build()][1], **more)

    monkeypatch.setattr(RequestCache, "get", counted)

    def made(side: int = 64, **params: Any) -> int:
        before = len(built)
        Redux().prepare(asked(ReduxParams(**params), side, control=photograph()), context)
        return len(built) - before

    assert made(control_source="depth") == 3  # the style's tokens, the map, its latents
    assert made(control_source="depth", downsampling_factor=1) == 1  # other tokens
    assert made(control_source="depth") == 0
    assert made(control_source="depth", depth_range="raw") == 2
    assert made(control_source="canny") == 2
    assert made(control_source="canny", low_threshold=0, high_threshold=10) == 2
    assert made(32, control_source="canny") == 2


def test_what_is_no_depth_model_is_refused(tiny_root: Path) -> None:
    context = context_of(flux_of(tiny_root, "flux-control"), tiny_root, depth_anything_large=tiny_root / "sd15")
    with pytest.raises(ModelUnusable, match="holds no depth model"):
        Redux().prepare(
            asked(ReduxParams(control_source="depth", depth_model="depth-anything-large"), control=photograph()),
            context,
        )


@pytest.mark.parametrize("kind", [ReduxParams, StyleAlignedParams])
def test_the_parameters_of_a_map_agree(kind: type[ControlParams]) -> None:
    assert kind(control_source="canny").control == "canny"
    assert kind(control_source="depth", control=None).control == "depth"
    assert kind(control="canny").control_source == "given"
    assert kind.model_validate_json('{"control_source": "depth", "loras": [{"id": "ink"}]}').control == "depth"
    with pytest.raises(ValidationError, match="control_source canny makes no map of kind depth"):
        kind(control="depth", control_source="canny")
    with pytest.raises(ValidationError, match="low_threshold 300 is above high_threshold 200"):
        kind(control="canny", low_threshold=300)


def test_a_posted_map_is_no_made_one(tiny_root: Path) -> None:
    context = context_of(flux_of(tiny_root, "flux-control"), tiny_root)
    params = ReduxParams(control="canny")
    found = control_picture(asked(params, control=photograph()), params, context)
    assert found is not None
    assert (found.shown, found.image.size) == (None, (64, 64))
    assert control_picture(asked(ReduxParams()), ReduxParams(), context) is None
    assert ControlPicture(found.image, made=True).shown is found.image
