"""Parity of the prior-noise family: cases as calls of signal-leak and style-noise."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from tests.parity.case import Case
from tests.parity.lab import Lab, carry, order
from workers.techniques.prior_noise.signal_leak import leak
from workers.techniques.prior_noise.signal_leak.spec import SignalLeakParams
from workers.techniques.prior_noise.signal_leak.technique import SignalLeak

DRAWS = {"noise_initial": "initial", "noise_leak": "leak", "lf_components_sample": "leak-low", "noise": "initial"}
KNOBS = ("single_reference", "statistic_type", "n_components", "only_hf", "channel", "value", "color")


def technique_of(case: Case) -> str:
    """Return the technique that a case is about."""
    return "style-noise" if case.params["mode"] == "style-noise" else "signal-leak"


def run(case: Case, lab: Lab) -> Mapping[str, Tensor]:
    """Return every tensor of a case that we can compute, by its recorded name."""
    return _leak(case, lab)


def draws(case: Case) -> dict[str, Tensor]:
    """Return the recorded draws by the names the techniques use."""
    return {DRAWS[name]: rows for name, rows in case.inputs.items() if name in DRAWS}


def _leak(case: Case, lab: Lab) -> Mapping[str, Tensor]:
    asked = order(case, _leak_params(case), draws(case))
    bench = lab.bench(case)
    technique = SignalLeak()
    trajectory = technique.prepare(asked, bench)
    statistics = leak.statistics_of(asked, _leak_params(case), bench)
    shape = bench.backbone.latent_shape(asked.width, asked.height)
    initial = trajectory.latents / trajectory.scheduler.init_noise_sigma
    steps = carry(technique, trajectory, bench)
    return {
        **statistics.tensors,
        "signal_leak": leak.drawn(asked, _leak_params(case), statistics, shape),
        "initial_latents": initial,
        "latents_step1": steps[1],
        "latents": trajectory.latents,
    }


def _leak_params(case: Case) -> SignalLeakParams:
    given: dict[str, Any] = {name: value for name, value in case.params.items() if name in KNOBS}
    if "dct_indices_row_col" in case.params:
        given["dct_indices"] = tuple(tuple(cell) for cell in case.params["dct_indices_row_col"])
    if "strength" in case.params:
        given["leak_scale"] = case.params["strength"]
    if case.has_weights("stats"):
        given["statistics"] = "stats"
    return SignalLeakParams(**given, sampler=case.facts["scheduler"])
