"""`python -m tests.bench [NAME ...]`: run the benchmarks one after another; each prints its ratios."""

import subprocess
import sys
from pathlib import Path

ELSEWHERE = {"composed", "gpu", "images", "prometheus"}
FOLDER = Path(__file__).parent
MODULES = {
    path.stem: ".".join(("tests.bench", *path.relative_to(FOLDER).with_suffix("").parts))
    for path in sorted(FOLDER.rglob("[!_]*.py"))
    if path.stem not in ELSEWHERE
}


def main() -> int:
    chosen = sys.argv[1:] or list(MODULES)
    if unknown := set(chosen) - set(MODULES):
        print(f"no benchmark {', '.join(unknown)}; there are {', '.join(MODULES)}", file=sys.stderr)
        return 2
    statuses = []
    for name in chosen:
        print(f"== {name}", flush=True)
        statuses.append(subprocess.run([sys.executable, "-m", MODULES[name]], check=False).returncode)
    return max(statuses)


if __name__ == "__main__":
    sys.exit(main())
