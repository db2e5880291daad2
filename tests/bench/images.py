"""`python -m tests.bench.images`: build the images without a daemon, measure them, and start what is in them.

Needs `buildah` (Debian's package). `--target gateway` or `--target worker` takes one of them; with both, the services
of docker-compose.yml then run from them. Arguments after `--` go to the builder, such as `--build-arg PYTHON=IMAGE`.
"""

import argparse
import shutil
import subprocess
import sys
from pathlib import Path

from tests.bench._buildah import BUILD_SECONDS, build, buildah, container, running
from tests.bench.engine import composed

USER = "10001:10001"
MOST_BYTES = {"gateway": 250_000_000}
TOOLS = ("gcc", "cc", "c++", "make", "pip", "git", "cargo")
BOTH = f"""
import importlib.util, os, pathlib, shutil
from model_store.store.presence import presence
assert os.getuid() == 10001, os.getuid()
assert not os.access("/venv", os.W_OK), "its own files can be changed"
assert not importlib.util.find_spec("pip"), "pip is in the image"
left = [tool for tool in {TOOLS} if shutil.which(tool)]
assert not left, left
assert presence("starter", pathlib.Path("/models")).state == "installed"
weights = list(pathlib.Path("/venv").rglob("*.safetensors"))
"""
OWN = {
    "gateway": """
import app.main, app.cli.main, workers.sweeper
assert not importlib.util.find_spec("torch"), "torch is in the image"
assert not weights, weights
print("starts as user 10001; no torch, no weights, no tools to build with")
""",
    "worker": """
import torch, app.cli.main, workers.__main__
assert not importlib.util.find_spec("matplotlib"), "matplotlib is in the image"
assert {path.parent.name for path in weights} >= {"unet", "vae", "text_encoder", "image_encoder", "ip-adapter"}, weights
print(f"starts as user 10001; torch {torch.__version__}, the starter model, no tools to build with")
""",
}


def bytes_of(folder: Path) -> int:
    """Return the bytes of all files of a folder."""
    return sum(path.lstat().st_size for path in folder.rglob("*") if path.is_file() and not path.is_symlink())


def examined(target: str) -> bool:
    """Measure and try an image that has been built; return whether it is as small as it must be."""
    with container(f"stylize-{target}") as name:
        root = Path(buildah("mount", name))
        whole, ours = bytes_of(root), bytes_of(root / "opt" / "stylize")
        most = MOST_BYTES.get(target)
        goal = f" (goal: {most / 1e6:.0f} MB in all)" if most else ""
        print(f"{target}: files of {whole / 1e6:.0f} MB, of which ours {ours / 1e6:.0f} MB{goal}", flush=True)
        program = ("python", "-c", BOTH + OWN[target])
        if subprocess.run(running(name, program, user=USER), check=False, timeout=BUILD_SECONDS).returncode:
            raise SystemExit(f"{target}: the image is not as it must be")
    return most is None or whole <= most


def main() -> int:
    """Build and check; returns 1 when an image is too large or a service does not do its work."""
    if shutil.which("buildah") is None:
        print("buildah is not on PATH; install Debian's package buildah", file=sys.stderr)
        return 2
    split = sys.argv.index("--") if "--" in sys.argv else len(sys.argv)
    parser = argparse.ArgumentParser(prog="python -m tests.bench.images", description=__doc__)
    parser.add_argument("--target", choices=tuple(OWN), action="append", help="default: all")
    targets = parser.parse_args(sys.argv[1:split]).target or list(OWN)
    for target in targets:
        build(target, sys.argv[split + 1 :])
    small = [examined(target) for target in targets]
    if set(targets) == set(OWN):
        composed.run()
    return int(not all(small))


if __name__ == "__main__":
    sys.exit(main())
