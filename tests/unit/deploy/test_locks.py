"""The locks: every file that is installed is known by its sha256, and no lock is of another day than the project."""

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
LOCKS = sorted((ROOT / "deploy" / "locks").glob("*.lock"))
REQUIREMENT = re.compile(r"^([A-Za-z0-9._-]+)==(\S+)")


def pins(lock: Path) -> dict[str, tuple[str, list[str]]]:
    """Return by name the version and the hashes."""
    found: dict[str, tuple[str, list[str]]] = {}
    for line in lock.read_text().splitlines():
        if match := REQUIREMENT.match(line):
            hashes: list[str] = []
            found[match[1].lower().replace("_", "-")] = (match[2], hashes)
        else:
            hashes += re.findall(r"--hash=sha256:([0-9a-f]{64})", line)
    return found


def test_there_is_a_lock_for_each_use() -> None:
    assert [lock.stem for lock in LOCKS] == ["demo", "dev", "gateway", "worker"]


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.stem)
def test_every_version_has_hashes_and_no_index_is_named(lock: Path) -> None:
    assert "://" not in lock.read_text()
    without = [name for name, (_, hashes) in pins(lock).items() if not hashes]
    assert without == []
    every = pins(ROOT / "deploy" / "locks" / "dev.lock")
    assert {name: version for name, (version, _) in pins(lock).items() if every[name][0] != version} == {}


def test_the_project_asks_for_nothing_that_is_not_locked() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    asked = [*project["dependencies"], *(one for extra in project["optional-dependencies"].values() for one in extra)]
    names = {re.split(r"[\[<>=!; ]", one)[0].lower().replace("_", "-") for one in asked}
    assert names - pins(ROOT / "deploy" / "locks" / "dev.lock").keys() == {"torch"}, "its build is the host's choice"


def test_torch_is_installed_by_the_version_that_the_project_asks_for() -> None:
    asked = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]["worker"]
    [version] = [one for one in asked if one.startswith("torch==")]
    assert f"TORCH := {version}\n" in (ROOT / "Makefile").read_text()
    assert f" install {version}\n" in (ROOT / "Dockerfile").read_text()
