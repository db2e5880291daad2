"""The client as its callers have it: its wheel in an environment that holds nothing else."""

import json
import os
import shutil
import subprocess
import sys
import venv
import zipfile
from importlib.metadata import Distribution, distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

CLIENT = Path(__file__).parents[2] / "app" / "client"
NAME = "stylize-client"


class CallersEnvironment:
    """An environment with the client's wheel and what it requires, installed without a network."""

    def __init__(self, folder: Path) -> None:
        wheels = folder / "wheels"
        self.wheel = build_wheel(folder)
        self.required = pack_requirements(self.wheel, wheels)
        venv.create(folder / "venv", symlinks=True)
        self.python = folder / "venv" / "bin" / "python"
        shutil.copy(self.wheel, wheels)
        self.pip("install", "--quiet", "--no-index", "--find-links", str(wheels), NAME)

    def pip(self, *arguments: str) -> str:
        return run(sys.executable, "-m", "pip", "--isolated", "--python", str(self.python), *arguments)

    def installed(self) -> set[str]:
        """Return the names of the installed distributions."""
        listed = json.loads(self.pip("list", "--format", "json"))
        return {canonicalize_name(one["name"]) for one in listed}

    def run(self, program: str, *arguments: str) -> str:
        """Run a program that sees this environment only; return what it wrote."""
        return run(str(self.python), "-I", "-W", "error", "-c", program, *arguments)


def run(*command: str) -> str:
    environ = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def build_wheel(folder: Path) -> Path:
    """Build the client's wheel from a copy, so that nothing is left in the tree."""
    left_out = shutil.ignore_patterns("__pycache__", "*.egg-info", "build")
    source = shutil.copytree(CLIENT, folder / "source", ignore=left_out)
    options = ("--quiet", "--no-deps", "--no-build-isolation", "--no-index", "--wheel-dir", str(folder / "dist"))
    run(sys.executable, "-m", "pip", "wheel", *options, str(source))
    (wheel,) = (folder / "dist").glob("*.whl")
    return wheel


def pack_requirements(wheel: Path, folder: Path) -> set[str]:
    """Pack what a wheel requires, as it is installed here, into wheels; return the names."""
    folder.mkdir()
    with zipfile.ZipFile(wheel) as archive:
        (path,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        metadata = archive.read(path).decode()
    head = metadata.partition("\n\n")[0].splitlines()
    wanted = [line.partition(": ")[2] for line in head if line.startswith("Requires-Dist: ")]
    packed: set[str] = set()
    while wanted:
        requirement = Requirement(wanted.pop())
        name = canonicalize_name(requirement.name)
        if name in packed or (requirement.marker and not requirement.marker.evaluate({"extra": ""})):
            continue
        found = distribution(name)
        pack(found, folder)
        packed.add(name)
        wanted += found.requires or []
    return packed


def pack(found: Distribution, folder: Path) -> None:
    """Pack an installed distribution as the wheel that it came as."""
    tag = next(
        line.partition(": ")[2] for line in str(found.read_text("WHEEL")).splitlines() if line.startswith("Tag: ")
    )
    name = canonicalize_name(found.metadata["Name"]).replace("-", "_")
    with zipfile.ZipFile(folder / f"{name}-{found.version}-{tag}.whl", "w") as archive:
        for path in found.files or ():
            if path.parts[0] != ".." and path.suffix != ".pyc":
                archive.write(path.locate(), str(path))
