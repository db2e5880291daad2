"""The GPU benchmark runs each of its rows, here on the tiny models and the CPU."""

import pytest

from tests.bench.engine import gpu

ROWS = {
    "tiny-sd15": {"diffusers", "plain", "signal-leak cold", "style-aligned warm", "style-id warm"},
    "tiny-flux": {"FluxPipeline", "plain", "redux f = 1", "redux f = 3", "control LoRA"},
    "tiny-flux-fill": {"fill"},
    "tiny-flux2-klein": {"plain", "one reference", "content and style"},
}


@pytest.mark.parametrize("shape", ROWS)
def test_each_row_of_a_shape_is_measured(shape: str, capsys: pytest.CaptureFixture[str]) -> None:
    asked = ["--device", "cpu", "--shapes", shape, "--steps", "1", "--batches", "1", "--rounds", "1"]
    assert gpu.main(asked) == 0
    rows = [line.split(" | ") for line in capsys.readouterr().out.splitlines() if line.startswith("| tiny-")]
    assert {row[3] for row in rows} >= ROWS[shape]
    assert all(float(row[4]) > 0 for row in rows)
