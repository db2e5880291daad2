"""`python -m tests.bench.images`: build the gateway's image without a daemon, measure it, and start what is in it.

Needs `buildah` (Debian's package). Arguments after `--` go to the builder, such as `--build-arg PYTHON=IMAGE`.
"""

import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
IMAGE = "stylize-gateway"
MOST_BYTES = 250_000_000
PROGRAM = """
import importlib.util, os, subprocess, sys
import app.main, app.cli, workers.sweeper
assert os.getuid() == 10001, os.getuid()
assert not importlib.util.find_spec("torch"), "torch is in the image"
assert not importlib.util.find_spec("pip"), "pip is in the image"
assert not os.access("/opt/stylize", os.W_OK), "its own files can be changed"
refused = subprocess.run([sys.executable, "-m", "app"], env={**os.environ, "STYLIZE_MODELS": ""}, capture_output=True)
assert refused.returncode == 2, refused
print("the image starts as user 10001, without torch and pip")
"""


def buildah(*arguments: str) -> str:
    """Run the builder; return what it prints. Ends the program when it fails."""
    done = subprocess.run(["buildah", *arguments], stdout=subprocess.PIPE, text=True, check=False, timeout=1800)
    if done.returncode:
        raise SystemExit(f"buildah {arguments[0]} failed")
    return done.stdout.strip()


def bytes_of(folder: Path) -> int:
    """Return the bytes of all files of a folder."""
    return sum(path.lstat().st_size for path in folder.rglob("*") if path.is_file() and not path.is_symlink())


def main() -> int:
    """Build and check; returns 1 when the image is too large."""
    if shutil.which("buildah") is None:
        print("buildah is not on PATH; install Debian's package buildah", file=sys.stderr)
        return 2
    more = sys.argv[sys.argv.index("--") + 1 :] if "--" in sys.argv else []
    build = ("bud", "--isolation", "chroot", "--layers", "--format", "docker", "--target", "gateway", "--tag", IMAGE)
    buildah(*build, *more, str(ROOT))
    container = buildah("from", f"localhost/{IMAGE}")
    try:
        root = Path(buildah("mount", container))
        whole, ours = bytes_of(root), bytes_of(root / "opt" / "stylize")
        print(f"files in the image: {whole / 1e6:.0f} MB, of which ours {ours / 1e6:.0f} MB (goal: 250 MB in all)")
        print(
            buildah("run", "--isolation", "chroot", "--user", "10001:10001", container, "--", "python", "-c", PROGRAM)
        )
    finally:
        buildah("rm", container)
    return int(whole > MOST_BYTES)


if __name__ == "__main__":
    sys.exit(main())
