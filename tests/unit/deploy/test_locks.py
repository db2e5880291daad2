"""The locks: every file that is installed is known by its sha256, and no lock is of another day than the project."""

import re
import tomllib
from pathlib import Path

import pytest
from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[3]
LOCKS = {lock.stem: lock for lock in (ROOT / "deploy" / "locks").glob("*.lock")}
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
PYTHONS = ("3.11.2", "3.12.0", "3.13.5")
PIN = re.compile(r"^(\S+)==(\S+)(?: ; (.+?))? \\\n((?: +--hash=sha256:[0-9a-f]{64}(?: \\)?\n)+)", re.MULTILINE)


def pins(*names: str, python: str = PYTHONS[0]) -> dict[str, str]:
    """Return the version of every package that the locks of these names install on Linux with a Python."""
    found = {}
    for name in names:
        for package, version, marker, _ in PIN.findall(LOCKS[name].read_text()):
            if not marker or Marker(marker).evaluate(host(python)):
                assert found.setdefault(canonicalize_name(package), version) == version
    return found


def host(python: str) -> dict[str, str]:
    """Return what markers see of a Python on Linux."""
    return {
        "python_full_version": python,
        "python_version": python.rpartition(".")[0],
        "sys_platform": "linux",
        "platform_system": "Linux",
        "platform_machine": "x86_64",
        "platform_python_implementation": "CPython",
        "implementation_name": "cpython",
    }


def asked(*extras: str, python: str = PYTHONS[0]) -> set[str]:
    """Return the packages that the project asks for itself, with these extras, on Linux with a Python."""
    listed = [*PROJECT["dependencies"], *(one for extra in extras for one in PROJECT["optional-dependencies"][extra])]
    wanted = map(Requirement, listed)
    return {canonicalize_name(one.name) for one in wanted if not one.marker or one.marker.evaluate(host(python))}


def test_there_is_a_lock_for_each_use() -> None:
    assert set(LOCKS) == {"demo", "dev", "gateway", "worker"}


@pytest.mark.parametrize("lock", LOCKS)
def test_every_version_has_hashes_and_no_index_is_named(lock: str) -> None:
    text = LOCKS[lock].read_text()
    assert "".join(match[0] for match in PIN.finditer(text)) == text, "nothing but versions, markers and hashes"


def test_the_project_names_the_pythons_that_the_locks_serve() -> None:
    served = Requirement(f"stylize{PROJECT['requires-python']}").specifier
    assert [python in served for python in ("3.10.20", *PYTHONS, "3.14.0")] == [False, True, True, True, False]


@pytest.mark.parametrize("python", PYTHONS)
@pytest.mark.parametrize(
    ("locks", "extras"),
    [
        (("gateway",), ("gateway", "tracing")),
        (("worker",), ("gateway", "worker", "tracing", "credentials")),
        (("demo",), ("gateway", "worker", "embedded")),
        (("demo", "dev"), tuple(PROJECT["optional-dependencies"])),
    ],
)
def test_the_project_asks_for_nothing_that_is_not_locked(
    locks: tuple[str, ...], extras: tuple[str, ...], python: str
) -> None:
    missing = asked(*extras, python=python) - pins(*locks, python=python).keys()
    assert missing <= {"torch"}, "its build is the host's choice"


@pytest.mark.parametrize("python", PYTHONS)
def test_a_package_has_one_version_in_all_locks(python: str) -> None:
    assert pins(*LOCKS, python=python)


def test_what_runs_and_what_develops_are_locked_apart() -> None:
    assert not pins("demo").keys() & pins("dev").keys()
    tools = {"hypothesis", "moto", "mypy", "pytest", "ruff", "schemathesis"}
    assert tools <= pins("dev").keys() & asked("dev")
    assert not tools & pins("gateway", "worker", "demo").keys()


def test_nothing_plots_in_the_worker_image() -> None:
    assert not pins("worker", "gateway").keys() & asked("plots").difference(asked())


def test_torch_is_installed_by_the_version_that_the_project_asks_for() -> None:
    [version] = [one for one in PROJECT["optional-dependencies"]["worker"] if one.startswith("torch==")]
    assert f"TORCH := {version}\n" in (ROOT / "Makefile").read_text()
    assert f" install {version}\n" in (ROOT / "Dockerfile").read_text()
