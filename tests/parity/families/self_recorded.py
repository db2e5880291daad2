"""Parity of a technique of our own, which has no reference code: what it computed when it was recorded.

`python -m tests.parity.families.self_recorded METHOD` runs it with its default parameters on the tiny model and writes
the case `tests/parity/cases/self-recorded/METHOD`. Such a case notices a change of results; that they are right is for
the formulas' own tests. Record anew only when the spec's `version` rises.
"""

import argparse
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from tests.parity.case import Case
from tests.parity.lab import Lab, carry, data_root, inputs
from workers.contract.spec import Spec
from workers.engine.noise import SeededNoise
from workers.techniques import registry

HERE = Path(__file__).parents[1] / "cases" / "self-recorded"
SIDE = 128


def technique_of(case: Case) -> str:
    """Return the technique that a case is about."""
    return case.variant


def run(case: Case, lab: Lab) -> Mapping[str, Tensor]:
    """Return the final latents; every draw is of the seeds, like a user's."""
    technique = registry.technique(technique_of(case))
    context, params = lab.context(case), technique.spec.params.model_validate(case.params)
    trajectory = technique.prepare(inputs(case, params, {}, noise=SeededNoise((0,))), context)
    carry(technique, trajectory, context)
    return {"latents": trajectory.latents}


def facts(spec: Spec) -> dict[str, Any]:
    """Return what case.json says of a technique with its default parameters."""
    base = next(iter(spec.bases))
    return {
        "technique": "self-recorded",
        "variant": spec.name,
        "base": base,
        "prompt": "a red house by a lake",
        "negative_prompt": None,
        "height": SIDE,
        "width": SIDE,
        "steps": 4,
        "guidance_scale": spec.bases[base].guidance_scale,
        "params": {},
        "compare": {"tensor": "latents", "rtol": 1e-4, "atol": 1e-3},
        "reference": f"ours, version {spec.version}",
    }


def main() -> int:
    """Record the case of the technique named on the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.parity.families.self_recorded", description=__doc__)
    parser.add_argument("method", choices=registry.names())
    method = parser.parse_args().method
    folder = HERE / method
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "case.json").write_text(json.dumps(facts(registry.spec(method)), indent=2) + "\n")
    torch.set_num_threads(1)
    grey = torch.linspace(0, 255, SIDE).to(torch.uint8)
    picture = torch.stack([grey.expand(SIDE, SIDE), grey.expand(SIDE, SIDE).T, grey.flip(0).expand(SIDE, SIDE)], dim=-1)
    pictures = {"style_image": picture.contiguous()}
    if registry.spec(method).inputs.content_image == "required":
        pictures["content_image"] = picture.flip(0).contiguous()
    save_file(pictures, folder / "inputs.safetensors")
    root = Path(__file__).parents[3]
    case = Case(folder, data_root(root / ".." / "shared", root / ".data" / "parity"))
    save_file(dict(run(case, Lab())), folder / "expected.safetensors")
    print(f"wrote {folder.relative_to(root)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
