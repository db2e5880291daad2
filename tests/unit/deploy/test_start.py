"""deploy/compose/start.sh: what it writes and how it calls docker, here a stand-in that records its arguments."""

import os
import re
import shutil
import stat
import subprocess
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[3]
SERVICES = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
DOCKER = """#!/bin/sh
echo "$*" >>"$CALLS"
case "$*" in
"compose version --short") echo "${COMPOSE_VERSION:-v2.40.1}" ;;
"compose run --rm -T keys list --json") [ ! -e "$CALLS.key" ] && echo '[]' || echo '[{"id": "k"}]' ;;
"compose run --rm -T keys create "*) : >"$CALLS.key" && echo stylize_token ;;
esac
"""
NVIDIA_SMI = """#!/bin/sh
case "$1" in
--list-gpus) printf 'GPU 0: A (UUID: GPU-1)\\nGPU 1: A (UUID: GPU-2)\\n' ;;
*) echo "${HOST_DRIVER:-580.65.06}" ;;
esac
"""


class Host:
    """A checkout with the script, and a PATH on which docker is ours."""

    def __init__(self, folder: Path, *, gpus: bool) -> None:
        self.root = folder / "checkout"
        self.calls = folder / "calls"
        self.bin = folder / "bin"
        self.environ = {"PATH": f"{self.bin}:{os.environ['PATH']}", "CALLS": str(self.calls)}
        shutil.copytree(
            ROOT / "deploy" / "compose", self.root / "deploy" / "compose", ignore=shutil.ignore_patterns("secrets")
        )
        self.bin.mkdir()
        for name, text in {"docker": DOCKER, "nvidia-smi": NVIDIA_SMI if gpus else "#!/bin/sh\nexit 9\n"}.items():
            (self.bin / name).write_text(text)
            (self.bin / name).chmod(0o755)

    def start(self, *options: str, **environ: str) -> subprocess.CompletedProcess[str]:
        self.calls.unlink(missing_ok=True)
        script = self.root / "deploy" / "compose" / "start.sh"
        return subprocess.run(
            ["sh", script, *options], env=self.environ | environ, capture_output=True, text=True, check=False
        )

    def started(self, *options: str) -> str:
        done = self.start(*options)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def commands(self) -> list[str]:
        return self.calls.read_text().splitlines()[1:]

    def env(self) -> dict[str, str]:
        lines = (self.root / ".env").read_text().splitlines()
        assert len({line.partition("=")[0] for line in lines}) == len(lines), "a setting stands twice"
        return dict(line.split("=", 1) for line in lines)

    @property
    def secrets(self) -> Path:
        return self.root / "deploy" / "compose" / "secrets"


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path, gpus=True)


def running(profiles: str) -> set[str]:
    """Return the services that Compose starts for profiles."""
    return {
        name
        for name, service in SERVICES.items()
        if not service.get("profiles") or set(service["profiles"]) & set(profiles.split(","))
    }


def test_one_command_starts_everything(host: Host) -> None:
    told = host.started()
    assert host.commands() == [
        "compose build",
        "compose run --rm -T models pull sd15",
        "compose run --rm -T keys list --json",
        "compose run --rm -T keys create admin",
        "compose up --detach --wait --remove-orphans",
    ]
    env = host.env()
    assert env["COMPOSE_PROFILES"] == "gpu2,s3,observability"
    assert env["STYLIZE_MODELS"] == "sd15"
    assert env["STYLIZE_BLOB_URL"] == "s3://stylize"
    workers = {"worker-0", "worker-1"}
    others = {"gateway", "sweeper", "redis", "s3", "s3-owner", "s3-bucket", "prometheus", "grafana"}
    assert running(env["COMPOSE_PROFILES"]) == workers | others
    assert all(SERVICES[name]["environment"]["STYLIZE_WORKER_DEVICE"] == "cuda" for name in workers)
    assert {"redis_auth", "redis_url", "url_key", "s3_credentials", "grafana_password"} <= {
        path.name for path in host.secrets.iterdir()
    }
    assert stat.S_IMODE(host.secrets.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in host.secrets.iterdir()} == {0o644}
    assert "http://127.0.0.1:8000" in told
    assert "stylize_token" in told
    assert (host.root / ".env").stat().st_mode & 0o077 == 0


def test_again_it_keeps_what_is_there(host: Host) -> None:
    host.started("--gpus", "1", "--models", "sdxl,sd15", "--pictures", "disk", "--no-monitoring")
    before = host.env() | {path.name: path.read_text() for path in host.secrets.iterdir()}
    (host.root / ".env").write_text("STYLIZE_MAX_QUEUED=7\n" + (host.root / ".env").read_text())
    told = host.started()
    assert host.env() | {path.name: path.read_text() for path in host.secrets.iterdir()} == before | {
        "STYLIZE_MAX_QUEUED": "7"
    }
    assert before["COMPOSE_PROFILES"] == "gpu"
    assert "API key" not in told
    assert not [command for command in host.commands() if "create" in command]


def test_without_a_gpu_it_says_so_and_never_takes_the_cpu_by_itself(tmp_path: Path) -> None:
    host = Host(tmp_path, gpus=False)
    done = host.start()
    assert done.returncode == 2
    assert "--cpu" in done.stderr
    assert not (host.root / ".env").exists()
    host.started("--cpu")
    assert host.env()["COMPOSE_PROFILES"] == "cpu,s3,observability"
    assert host.env()["STYLIZE_MODELS"] == "starter"
    assert not [command for command in host.commands() if "pull" in command], "the image carries the starter model"


@pytest.mark.parametrize(
    ("environ", "named"),
    [({"HOST_DRIVER": "550.54.15"}, "580"), ({"COMPOSE_VERSION": "2.9.0"}, "2.24")],
    ids=["driver", "compose"],
)
def test_what_is_too_old_is_refused_before_anything_is_written(host: Host, environ: dict[str, str], named: str) -> None:
    done = host.start(**environ)
    assert (done.returncode, named in done.stderr) == (2, True), done.stderr
    assert not (host.root / ".env").exists()
    assert not host.secrets.exists()


def test_an_older_driver_is_taken_by_those_who_say_so(host: Host) -> None:
    assert host.start(HOST_DRIVER="550.54.15", DRIVER="525").returncode == 0


@pytest.mark.parametrize(
    "options",
    [
        ("--gpus", "9"),
        ("--gpus", "two"),
        ("--gpus",),
        ("--pictures", "s3://"),
        ("--pictures", "/data"),
        ("--alerts", "ntfy"),
        ("--endpoint", "store:9000"),
        ("--cheap",),
    ],
    ids=" ".join,
)
def test_a_wrong_option_is_named(host: Host, options: tuple[str, ...]) -> None:
    done = host.start(*options)
    assert (done.returncode, options[0] in done.stderr) == (2, True)
    assert not host.calls.exists()


def test_help_tells_every_option(host: Host) -> None:
    told = host.started("--help")
    script = (host.root / "deploy" / "compose" / "start.sh").read_text()
    taken = set(re.findall(r"^ {4}(--[a-z-]+)\)", script, flags=re.MULTILINE))
    assert {"--gpus", "--cpu", "--models", "--alerts", "--monitoring"} <= taken
    assert {option for option in taken if option not in told} == set()
    assert not host.calls.exists()


def test_pictures_on_aws_need_its_keys_and_a_way_out(host: Host) -> None:
    refused = host.start("--gpus", "1", "--pictures", "s3://bucket/here", "--region", "eu-central-1")
    assert (refused.returncode, "s3_credentials" in refused.stderr) == (2, True)
    keys = "[default]\naws_access_key_id = A\naws_secret_access_key = B\n"
    (host.secrets / "s3_credentials").write_text(keys)
    (host.secrets / "s3_credentials").chmod(0o600)
    host.started("--gpus", "1", "--pictures", "s3://bucket/here", "--region", "eu-central-1")
    env = host.env()
    assert env["STYLIZE_BLOB_URL"] == "s3://bucket/here"
    assert env["STYLIZE_S3_ENDPOINT_URL"] == "", "AWS's own"
    assert env["STYLIZE_S3_REGION"] == "eu-central-1"
    assert env["COMPOSE_FILE"] == "docker-compose.yml:deploy/compose/outside-store.yml"
    assert "s3" not in running(env["COMPOSE_PROFILES"])
    assert (host.secrets / "s3_credentials").read_text() == keys
    assert (host.secrets / "s3_credentials").stat().st_mode & 0o004, "the users inside the containers read it"
    host.started()
    assert host.env() == env
    host.started("--pictures", "disk")
    assert "COMPOSE_FILE" not in host.env(), "without a store elsewhere workers have no way out"


def test_alerts_get_a_receiver(host: Host) -> None:
    host.started("--alerts", "https://alerts.example.com/hook")
    assert (host.secrets / "alert_url").read_text() == "https://alerts.example.com/hook"
    assert "alertmanager" in running(host.env()["COMPOSE_PROFILES"])
