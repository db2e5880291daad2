"""Run every parity case below a folder: one line a case, non-zero exit on a failure or when there is none.

python -m tests.parity --cases DIR [--data-root ../shared]
"""

import argparse
import sys
import warnings
from pathlib import Path

import torch

from tests.parity import case as cases
from tests.parity import families
from tests.parity.case import Case
from tests.parity.compare import compare
from tests.parity.lab import Lab, data_root

ROOT = Path(__file__).parents[2]
CACHE = ROOT / ".data" / "parity"


def errors(case: Case, lab: Lab) -> dict[str, float]:
    """Return the worst error of each compared tensor as a fraction of its tolerance; 1 or less passes.

    Raises NotBuiltError, or whatever the technique raises.
    """
    return compare(case, families.run(case, lab))


def verdict(case: Case, lab: Lab) -> tuple[bool, str]:
    """Return whether a case passes, and its line."""
    try:
        found = errors(case, lab)
    except Exception as fault:  # noqa: BLE001 - whatever goes wrong in a case, the others still run
        return False, f"{case.folder}: FAIL {type(fault).__name__}: {fault}"
    worst = max(found, key=lambda name: found[name])
    passes = found[worst] <= 1
    return passes, f"{case.folder}: {found[worst]:.3g} of tolerance ({worst}) {'pass' if passes else 'FAIL'}"


def main() -> int:
    """Run the cases named on the command line; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.parity", description=__doc__)
    parser.add_argument("--cases", type=Path, required=True, help="every folder with a case.json below it is run")
    parser.add_argument("--data-root", type=Path, default=ROOT / ".." / "shared", help="the folder above tiny-models")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    lab, root = Lab(), data_root(chosen.data_root, CACHE)
    passed = total = 0
    for case in cases.find(chosen.cases, root):
        passes, line = verdict(case, lab)
        print(line, flush=True)
        passed, total = passed + passes, total + 1
    print(f"{passed} of {total} cases pass" if total else f"no case below {chosen.cases}")
    return 0 if total and passed == total else 1


if __name__ == "__main__":
    sys.exit(main())
