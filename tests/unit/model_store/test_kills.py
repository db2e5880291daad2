"""Real processes: killed, interrupted, out of disk."""

import hashlib
import json
import os
import random
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from model_store.errors import NotEnoughSpace
from model_store.fetch.hub import Hub
from model_store.fetch.progress import Silent
from model_store.fetch.pull import pull
from tests.support.hub_server import Answer, HubState
from tests.support.service import PATIENCE
from tests.unit.model_store.conftest import Register

ROOT = Path(__file__).parents[3]


def environment(hub: HubState, tmp_path: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    return {
        **kept,
        "HF_ENDPOINT": hub.url,
        "HF_TOKEN": "hf_of_the_host",
        "HF_HOME": str(tmp_path),
        "PYTHONPATH": str(ROOT),
    }


def test_200_kills_never_leave_a_part_under_the_final_name(
    hub: HubState, store: Path, register: Register, tmp_path: Path
) -> None:
    register("thing", "weights.safetensors")
    whole = random.Random(4).randbytes(400_000)
    hub.files = {("them/thing", "weights.safetensors"): whole}
    hub.answer = lambda path, start: Answer(block=4_000)
    script = Path(__file__).parents[2] / "support" / "killing.py"
    seed = str(random.randrange(1 << 32))
    print("seed of the kills:", seed)
    arguments = [sys.executable, str(script), hub.url, str(store), "200", seed, hashlib.sha256(whole).hexdigest()]
    done = subprocess.run(arguments, env=environment(hub, tmp_path), capture_output=True, check=True, timeout=500)
    seen = json.loads(done.stdout)
    assert seen["killed"] == 200
    assert seen["broken"] == seen["failed"] == 0, seen
    assert seen["parts"] > 100, "kills struck while bytes were arriving"
    hub.answer = lambda path, start: Answer()
    for lane in store.glob("lane-*"):
        pull(["thing"], lane, Hub(endpoint=hub.url, timeout_seconds=60), watcher=Silent())
        assert (lane / "models" / "thing" / "weights.safetensors").read_bytes() == whole


def test_ctrl_c_ends_cleanly_and_the_next_pull_resumes(
    hub: HubState, store: Path, register: Register, tmp_path: Path
) -> None:
    register("thing", "a.safetensors", "b.safetensors")
    whole = random.Random(4).randbytes(600_000)
    hub.files = {("them/thing", name): whole for name in ("a.safetensors", "b.safetensors")}
    hub.answer = lambda path, start: Answer(block=10_000, pause_seconds=0.05)
    command = [sys.executable, "-m", "model_store.cli", "--store", str(store), "pull", "thing"]
    started = subprocess.Popen(
        command,
        env=environment(hub, tmp_path),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(
            signal.SIGINT, signal.default_int_handler
        ),  # a job in the background ignores it
    )
    deadline = time.monotonic() + PATIENCE
    while not any(part.stat().st_size for part in store.rglob("*.partial")) and time.monotonic() < deadline:
        time.sleep(0.02)
    started.send_signal(signal.SIGINT)
    _, complaint = started.communicate(timeout=PATIENCE)
    assert started.returncode == 130
    assert complaint.startswith("interrupted: ")
    assert "Traceback" not in complaint
    assert list(store.rglob("*.safetensors")) == []
    hub.answer = lambda path, start: Answer()
    again = subprocess.run(
        command, env=environment(hub, tmp_path), capture_output=True, text=True, check=True, timeout=PATIENCE
    )
    assert "thing: 2 fetched" in again.stdout
    assert any(start > 0 for method, _, start in hub.asked if method == "GET")
    assert hub.tokens == {"Bearer hf_of_the_host"}


def test_a_disk_that_fills_up_under_way(hub: HubState, store: Path, register: Register) -> None:
    register("thing", "weights.safetensors")
    whole = random.Random(4).randbytes(3_000_000)
    hub.files = {("them/thing", "weights.safetensors"): whole}
    source = Hub(endpoint=hub.url, timeout_seconds=60)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    heard = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, before[1]))  # the kernel refuses to write more, as when full
    try:
        with pytest.raises(NotEnoughSpace, match="is full"):
            pull(["thing"], store, source, watcher=Silent())
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, heard)
    assert list(store.rglob("*.safetensors")) == []
    pull(["thing"], store, source, watcher=Silent())
    assert (store / "models" / "thing" / "weights.safetensors").read_bytes() == whole
    assert any(start > 0 for method, _, start in hub.asked if method == "GET")
