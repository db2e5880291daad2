"""`python -m tests.security.audit BIN`: bandit over our code, then known advisories of every locked version.

BIN is where bandit and pip-audit are installed (`make audit` does). Exit status: 0 nothing found; 1 a finding; 3 no
advisory source can be reached, and nothing else was found.
"""

import argparse
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
LOCKS = ROOT / "deploy" / "locks"
PACKAGES = ("app", "workers", "model_store", "deploy")
EXPLAINED = "B615"
"""Unpinned downloads by `from_pretrained`: ours read local folders only, whose files are pinned by digest."""
UNREACHABLE = ("ConnectionError", "ServiceError", "Max retries", "timed out", "HTTPError", "could not be audited")
NOT_AUDITED = 3


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.security.audit", description=__doc__)
    parser.add_argument("bin", type=Path, help="where bandit and pip-audit are")
    folder: Path = parser.parse_args().bin
    bandit = (folder / "bandit", "--quiet", "--recursive", *PACKAGES, "--severity-level", "medium", "--skip", EXPLAINED)
    found = subprocess.run(bandit, cwd=ROOT, check=False).returncode
    print(f"bandit: {'findings, see above' if found else 'nothing of medium severity or above'}", flush=True)
    locks = [option for lock in sorted(LOCKS.glob("*.lock")) for option in ("--requirement", lock)]
    asking = (folder / "pip-audit", "--no-deps", "--progress-spinner", "off", *locks)
    asked = subprocess.run(asking, cwd=ROOT, capture_output=True, text=True, check=False)
    if any(word in asked.stderr + asked.stdout for word in UNREACHABLE):
        print("pip-audit: no advisory source can be reached from here; the locks were not audited", file=sys.stderr)
        return 1 if found else NOT_AUDITED
    print(asked.stdout, asked.stderr, sep="\n")
    return 1 if found or asked.returncode else 0


if __name__ == "__main__":
    sys.exit(main())
