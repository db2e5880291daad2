"""The lint of expositions finds what promtool would."""

import pytest

from tests.support.exposition import faults

GOOD = "# HELP a_seconds Time.\n# TYPE a_seconds gauge\na_seconds 1\n"


def test_a_good_exposition_has_no_fault() -> None:
    assert faults(GOOD) == []


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("# HELP aB Text.\n# TYPE aB gauge\naB 1\n", "lower case"),
        ("# HELP a_ms Text.\n# TYPE a_ms gauge\na_ms 1\n", "base unit"),
        ("# HELP a_duration Text.\n# TYPE a_duration gauge\na_duration 1\n", "name its unit"),
        ("# HELP a_seconds_b Text.\n# TYPE a_seconds_b gauge\na_seconds_b 1\n", "not at the end"),
        ("# HELP a_total Text.\n# TYPE a_total gauge\na_total 1\n", "like a counter"),
        ("# TYPE a gauge\na 1\n", "help text"),
        ("a 1\n", "type unknown"),
        ('# HELP a A.\n# TYPE a gauge\na{job="x"} 1\n', "reserved"),
        ('# HELP a A.\n# TYPE a gauge\na{id="0123456789abcdef"} 1\n', "not bounded"),
        ("# HELP a A.\n# TYPE a gauge\n" + "".join(f'a{{x="v{n}"}} 1\n' for n in range(50)), "50 values"),
        (GOOD + GOOD, "twice"),
    ],
)
def test_a_fault_is_found(text: str, fault: str) -> None:
    assert any(fault in found for found in faults(text)), faults(text)
