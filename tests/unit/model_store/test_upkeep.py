"""Verify, remove, gc, and the command line over them."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from typer.testing import CliRunner

from model_store.catalogue import entry_of, folder_of
from model_store.cli import create
from model_store.errors import StillNeeded, StoreBusy, UnknownModel
from model_store.fetch.hub import Hub
from model_store.fetch.progress import Silent
from model_store.fetch.pull import pull
from model_store.store.clean import gc, remove
from model_store.store.files import held
from model_store.store.lockfile import read_lock
from model_store.store.presence import presence
from model_store.store.verify import verify
from tests.support.hub_server import HubState
from tests.unit.model_store.conftest import Register

Run = Callable[..., tuple[int, str]]


@pytest.fixture
def installed(hub: HubState, store: Path, register: Register, tmp_path: Path) -> Path:
    """Return a store with `whole`, which requires `part`."""
    save_file({"a": torch.zeros(3)}, tmp_path / "x.safetensors")
    register("part", "config.json")
    register("whole", "a.safetensors", "config.json", requires=("part",), techniques=("some-method",))
    hub.files = {
        ("them/part", "config.json"): b"{}",
        ("them/whole", "config.json"): b"{}",
        ("them/whole", "a.safetensors"): (tmp_path / "x.safetensors").read_bytes(),
    }
    pull(["whole"], store, Hub(endpoint=hub.url, timeout_seconds=60), watcher=Silent())
    return store


@pytest.fixture
def run(store: Path) -> Run:
    runner = CliRunner()

    def call(*arguments: str) -> tuple[int, str]:
        done = runner.invoke(create(lambda: store), list(arguments))
        return done.exit_code, done.output

    return call


def faults(store: Path, model: str = "whole") -> dict[str, str]:
    return {finding.path: finding.fault for finding in verify(model, store) if finding.fault is not None}


def test_verify_finds_every_kind_of_damage(installed: Path) -> None:
    folder = folder_of("whole", installed)
    weights, config = folder / "a.safetensors", folder / "config.json"
    assert faults(installed) == {}
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-1] + b"\x01")
    assert faults(installed) == {"a.safetensors": "has other content than pinned"}
    weights.write_bytes(whole[:-1])
    assert faults(installed)["a.safetensors"].endswith("bytes, pinned are " + str(len(whole)))
    weights.unlink()
    assert faults(installed) == {"a.safetensors": "is missing"}
    weights.symlink_to(config)
    (folder / "code.py").write_text("")
    (folder / "b.partial").write_text("")
    assert faults(installed) == {"a.safetensors": "is a link", "code.py": "is not part of the model"}
    with pytest.raises(UnknownModel):
        list(verify("nothing", installed))


def test_verify_tells_a_pinned_file_that_is_no_safetensors(hub: HubState, store: Path, register: Register) -> None:
    register("thing", "a.safetensors")
    hub.files = {("them/thing", "a.safetensors"): b"not what its name says"}
    pull(["thing"], store, Hub(endpoint=hub.url, timeout_seconds=60), watcher=Silent())
    assert "not a safetensors file" in faults(store, "thing")["a.safetensors"]


def test_a_shipped_model_is_compared_with_its_own_digests(tmp_path: Path) -> None:
    sound = all(finding.fault is None for finding in verify("starter", tmp_path))
    assert sound == (presence("starter", tmp_path).state == "installed")


def test_what_is_part_of_the_program_stays(store: Path) -> None:
    with pytest.raises(StillNeeded, match="part of this program"):
        remove("starter", store, force=True)


def test_remove_keeps_pins_unless_told_to_forget(installed: Path) -> None:
    with pytest.raises(StillNeeded, match="whole is installed and requires part"):
        remove("part", installed)
    assert remove("whole", installed).size > 0
    assert presence("whole", installed).state == "missing"
    assert "whole" in read_lock(installed).models
    assert remove("part", installed, forget=True).path == folder_of("part", installed)
    assert "part" not in read_lock(installed).models
    assert entry_of("part", installed).id == "part"
    with held(installed, "whole"), pytest.raises(StoreBusy):
        remove("whole", installed)
    assert remove("whole", installed, force=True).size == 0


def test_gc_takes_leftovers_and_nothing_else(installed: Path) -> None:
    before = {path for path in installed.rglob("*") if path.is_file() and "locks" not in path.parts}
    (installed / "models" / "unknown").mkdir()
    (installed / "models" / "unknown" / "x.safetensors").write_bytes(b"1" * 10)
    (installed / "models" / "whole" / "a.safetensors.0123.partial").write_bytes(b"1" * 20)
    (installed / "incoming" / "whole").mkdir(parents=True)
    (installed / "incoming" / "whole" / "x.bin").write_bytes(b"1" * 30)
    (installed / "lock.json.77.partial").write_bytes(b"1" * 40)
    assert sum(freed.size for freed in gc(installed, dry_run=True)) == 100
    assert len(gc(installed)) == 4
    assert {path for path in installed.rglob("*") if path.is_file() and "locks" not in path.parts} == before
    assert gc(installed) == ()


def test_the_command_line(installed: Path, run: Run, tmp_path: Path) -> None:
    code, said = run("list", "--installed")
    assert (code, "whole" in said, "sdxl" in said) == (0, True, False)
    assert "sdxl-vae-fp16-fix" in run("list")[1]
    code, said = run("show", "whole")
    assert code == 0
    assert "them/whole at main" in said
    assert read_lock(installed).models["whole"].files["a.safetensors"].sha256 in said
    assert "missing; stylize models pull deadiff" in run("show", "deadiff")[1]
    assert run("verify") == (0, "part: 1 of 1 files as pinned\nwhole: 2 of 2 files as pinned\n")
    (folder_of("whole", installed) / "config.json").write_text("[]")
    code, said = run("verify", "whole")
    assert (code, "whole/config.json: has other content than pinned" in said) == (1, True)
    code, said = run("show", "nothing")
    assert (code, said) == (1, "unknown-model: no model named 'nothing'; `stylize models list` shows all\n")
    assert run("remove", "part")[0] == 1
    assert run("remove", "whole")[0] == 0
    assert run("gc", "--dry-run") == (0, "0.0 MB would be freed\n")
    torch.save({"w": torch.zeros(2)}, tmp_path / "nan.bin")
    assert run("add", str(tmp_path / "gone.safetensors"), "mine")[0] == 1
    assert run("convert", str(tmp_path / "nan.bin"), str(tmp_path / "out.safetensors"), "--keymap", "none")[0] == 1
    for taken in (tmp_path / "x.safetensors", tmp_path / "out.bin"):
        assert run("convert", str(tmp_path / "nan.bin"), str(taken))[0] == 2
    assert (tmp_path / "x.safetensors").exists()
    assert not (tmp_path / "out.bin").exists()


def test_what_is_not_installed_shows_what_a_pull_would_bring(run: Run) -> None:
    code, said = run("show", "csd")
    lines = [line.strip() for line in said.splitlines()]
    assert code == 0
    assert "size  2.44 GB" in lines
    trusted = "no digest shipped: the first pull is trusted, and pinned"
    assert f"{trusted}  pytorch_model.bin, converted to csd.safetensors" in lines
    assert entry_of("art-inception").files[0].sha256 in run("show", "art-inception")[1]
    assert "nothing was ever pulled" in run("verify")[1]


def test_what_nothing_here_can_use_is_marked(run: Run) -> None:
    lines = {line.split()[0]: line for line in run("list")[1].splitlines()}
    assert "missing, not used here" in lines["flux1-kontext"]
    assert "not used" not in lines["sdxl"]
    assert "FLUX.1 [dev] Non-Commercial" in lines["flux1-dev"]
    assert "served  no: nothing of this release can use it" in run("show", "flux1-kontext")[1]
    assert "served" not in run("show", "sdxl")[1]


def test_ctrl_c_is_told_in_a_line_wherever_it_strikes(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def struck(*given: object, **more: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("model_store.convert.pickled.subprocess.run", struck)
    torch.save({"w": torch.zeros(2)}, tmp_path / "x.bin")
    code, said = run("convert", str(tmp_path / "x.bin"), str(tmp_path / "made.safetensors"))
    assert (code, said) == (130, "interrupted: stopped; what has arrived is kept\n")


def test_pull_on_the_command_line(installed: Path, run: Run, tmp_path: Path) -> None:
    remove("whole", installed)
    code, said = run("pull", "whole", "--from", str(tmp_path / "absent"))
    assert (code, said.splitlines()[-1][:10]) == (1, "not-found:")
    usb = tmp_path / "usb" / "them" / "whole"
    usb.mkdir(parents=True)
    (usb / "config.json").write_bytes(b"{}")
    (usb / "a.safetensors").write_bytes((tmp_path / "x.safetensors").read_bytes())
    code, said = run("pull", "whole", "--from", str(tmp_path / "usb"))
    assert code == 0
    assert "whole: MIT" in said
    assert "part: 0 fetched, 1 were there\nwhole: 2 fetched, 0 were there\n" in said
    for wrong in (("pull",), ("pull", "--method", "x"), ("pull", "whole", "--model", "sdxl")):
        assert run(*wrong)[0] == 2


def test_pull_warns_of_what_nothing_here_serves(run: Run, tmp_path: Path) -> None:
    said = run("pull", "siglip-so400m", "--from", str(tmp_path / "absent"))[1]
    assert "warning: nothing in this version serves siglip-so400m; it is fetched all the same" in said
    assert "warning" not in run("pull", "flux1-redux", "--from", str(tmp_path / "absent"))[1]


def test_a_method_and_a_model_name_what_is_fetched(hub: HubState, store: Path, register: Register, run: Run) -> None:
    code, said = run("pull", "--method", "instantstyle", "--model", "sdxl", "--from", str(store.parent))
    assert code == 1
    named = [line.split(":")[0] for line in said.splitlines()]
    assert named == ["sdxl", "clip-vit-bigg", "ip-adapter-sdxl", "not-found"]
