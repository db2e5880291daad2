"""A process has one client of Redis, whose connections all its stores share."""

import ast
from pathlib import Path

ROOT = Path(__file__).parents[2]
CALLS = {"connect", "create_pool"}
CLIENTS = {
    "app/__main__.py": 1,  # looks before it serves, and closes its client
    "app/dependencies.py": 1,  # the gateway
    "workers/__main__.py": 1,  # a worker
    "workers/sweeper.py": 1,
    "workers/contract/jobs/store.py": 1,  # a program that needs a store and nothing else
    "workers/contract/runtime/redis.py": 1,  # `connect` makes the connections
    "app/auth/rate_limit.py": 1,  # a server of its own, which may be another one
}


def count_clients(path: Path) -> int:
    tree = ast.parse(path.read_text())
    imported = {
        name.asname or name.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module == "workers.contract.runtime.redis"
        for name in node.names
    }
    defined = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
    calls = (node.func for node in ast.walk(tree) if isinstance(node, ast.Call))
    names = [call.id for call in calls if isinstance(call, ast.Name) and call.id in CALLS]
    return sum(name in imported or (name in defined and path.name == "redis.py") for name in names)


def test_each_process_makes_one_client() -> None:
    files = (path for package in ("app", "workers") for path in sorted((ROOT / package).rglob("*.py")))
    found = {path.relative_to(ROOT).as_posix(): count_clients(path) for path in files if "app/cli/" not in str(path)}
    assert {name: count for name, count in found.items() if count} == CLIENTS
