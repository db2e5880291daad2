"""The further channels of queries and keys give what a mask of tokens x tokens gives."""

import math

import pytest
import torch
from torch import Tensor

from tests.support.techniques.flux_requests import SHORT, inputs, picture
from workers.engine.denoise import DenoiserCall, Trajectory, gather
from workers.engine.technique import Pictures, PrepareContext
from workers.techniques.encoder.redux.spec import ReduxParams
from workers.techniques.encoder.redux.technique import TECHNIQUE
from workers.techniques.joint_attention import NOTHING

IMAGE_TOKENS = 12


def prepared(context: PrepareContext, strength: float, references: int, true_cfg_scale: float = 1.0) -> Trajectory:
    settings = ReduxParams(
        max_sequence_length=SHORT,
        downsampling_factor=1 if references == 1 else 3,
        combine="concat",
        true_cfg_scale=true_cfg_scale,
    )
    styles = Pictures(tuple(picture(n) for n in range(references)))
    weights = (1.0, 0.5, 0.25)[:references]
    return TECHNIQUE.prepare(inputs(settings, styles, strength=strength, style_weights=weights), context)


def masks(call: DenoiserCall) -> Tensor:
    """Return the masks (rows, 1, tokens, tokens): log s where a key is of a reference and the query not of the same."""
    rows, text, _ = call.condition.text.shape
    mask = torch.zeros(rows, 1, text + IMAGE_TOKENS, text + IMAGE_TOKENS)
    for part in call.rows:
        extra = part.trajectory.extra
        for span, strength in zip(extra.spans, extra.strengths, strict=True):
            s = strength if part.conditional else 0.0
            own = slice(part.start, part.stop)
            mask[own, :, :, span] = math.log(s) if s > 0 else NOTHING
            mask[own, :, span, span] = 0.0
    return mask


@pytest.mark.parametrize("references", [1, 3])
@pytest.mark.parametrize("true_cfg_scale", [1.0, 3.0])
def test_channels_equal_a_mask(on_flux: PrepareContext, references: int, true_cfg_scale: float) -> None:
    """In one call for requests that differ in strength."""
    both = [prepared(on_flux, strength, references, true_cfg_scale) for strength in (0.3, 0.9)]
    call = gather(both)
    with torch.no_grad(), TECHNIQUE.patch(on_flux.backbone, both) as hooks:
        hooks.before_predict(call)
        ours = on_flux.backbone.predict(call)
    plain = gather(both)
    plain.inputs["joint_attention_kwargs"] = {"attention_mask": masks(plain)}
    with torch.no_grad():
        theirs = on_flux.backbone.predict(plain)
    assert float((ours - theirs).abs().max() / theirs.abs().max()) < 1e-5
    with torch.no_grad():
        unmasked = on_flux.backbone.predict(gather(both))
    assert float((unmasked - theirs).abs().max() / theirs.abs().max()) > 1e-3


def test_at_full_strength_the_model_runs_as_it_is(on_flux: PrepareContext) -> None:
    before = dict(on_flux.backbone.denoiser.attn_processors)
    with TECHNIQUE.patch(on_flux.backbone, [prepared(on_flux, 1.0, 1)]):
        assert dict(on_flux.backbone.denoiser.attn_processors) == before
