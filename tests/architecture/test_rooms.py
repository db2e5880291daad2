"""The floor plan: how many files a room holds, and that no two rooms need each other."""

from collections import Counter, defaultdict
from graphlib import CycleError, TopologicalSorter

from tests.architecture.source import FILES, MODULES, PACKAGES, ROOT, TESTS, imports_of, room_of


def test_a_folder_has_at_most_15_files_and_the_top_of_a_package_8() -> None:
    counts = Counter(
        path.parent.relative_to(ROOT).as_posix()
        for path in FILES + TESTS
        if path.name not in ("__init__.py", "conftest.py")
    )
    assert {folder: n for folder, n in counts.items() if n > (8 if folder in PACKAGES else 15)} == {}


def test_no_two_rooms_import_each_other() -> None:
    rooms: dict[str, set[str]] = defaultdict(set)
    for module in MODULES:
        rooms[room_of(module)] |= {room_of(other) for other in imports_of(module) if other in MODULES}
    for room, others in rooms.items():
        others.discard(room)
    try:
        TopologicalSorter(rooms).prepare()
    except CycleError as cycle:
        raise AssertionError("rooms that import each other: " + " -> ".join(reversed(cycle.args[1]))) from None
