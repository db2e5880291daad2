"""`python -m tests.bench [NAME ...]`: run the benchmarks one after another; each prints its ratios."""

import subprocess
import sys
from pathlib import Path

ELSEWHERE = {"composed", "gpu", "images", "prometheus"}
NAMES = sorted({path.stem for path in Path(__file__).parent.glob("[!_]*.py")} - ELSEWHERE)


def main() -> int:
    chosen = sys.argv[1:] or NAMES
    if unknown := set(chosen) - set(NAMES):
        print(f"no benchmark {', '.join(unknown)}; there are {', '.join(NAMES)}", file=sys.stderr)
        return 2
    statuses = []
    for name in chosen:
        print(f"== {name}", flush=True)
        statuses.append(subprocess.run([sys.executable, "-m", f"tests.bench.{name}"], check=False).returncode)
    return max(statuses)


if __name__ == "__main__":
    sys.exit(main())
