"""The example overlay for Kubernetes: composed with the base, valid, no pod reaching or mounting more than it needs."""

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from app.settings import GatewaySettings

ROOT = Path(__file__).parents[3]
EXAMPLE = ROOT / "deploy" / "kubernetes" / "example"
KUSTOMIZATION = yaml.safe_load((EXAMPLE / "kustomization.yaml").read_text())
FILES = [name for name in KUSTOMIZATION["resources"] if name.endswith(".yaml")]
OBJECTS: list[dict[str, Any]] = [found for name in FILES for found in yaml.safe_load_all((EXAMPLE / name).read_text())]
OTHERS = ("PodMonitor", "ScaledObject")
"""Not Kubernetes' own; the base's tests read ScaledObject by its schema."""
KUBERNETES = "1.33"


def one(kind: str, name: str, objects: list[dict[str, Any]] = OBJECTS) -> dict[str, Any]:
    [found] = [found for found in objects if (found["kind"], found["metadata"]["name"]) == (kind, name)]
    return found


@pytest.fixture(scope="module")
def composed(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What an operator's first apply sends, after the steps of README.md."""
    if shutil.which("kubectl") is None:
        pytest.skip("no `kubectl` is installed")
    folder = tmp_path_factory.mktemp("kubernetes")
    ignore = shutil.ignore_patterns("secrets")
    shutil.copytree(ROOT / "deploy" / "kubernetes", folder / "kubernetes", ignore=ignore)
    secrets = folder / "kubernetes" / "example" / "secrets"
    subprocess.run(["sh", ROOT / "deploy" / "compose" / "make-secrets.sh", secrets], check=True, capture_output=True)
    command = ["kubectl", "kustomize", folder / "kubernetes" / "example"]
    without = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "s3_credentials" in without.stderr, "the store's keys are not made up"
    (secrets / "s3_credentials").write_text("[default]\naws_access_key_id = A\naws_secret_access_key = B\n")
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return list(yaml.safe_load_all(done.stdout))


def test_the_composed_objects_are_valid_and_in_one_namespace(composed: list[dict[str, Any]]) -> None:
    for found in composed:
        if found["kind"] not in OTHERS:
            kubernetes_validate.validate(found, KUBERNETES, strict=True)
        assert found["kind"] == "Namespace" or found["metadata"]["namespace"] == "stylize"


def test_the_example_changes_what_it_says(composed: list[dict[str, Any]]) -> None:
    pods = {
        found["metadata"]["name"]: found["spec"]["template"]["spec"]
        for found in composed
        if "template" in found.get("spec", {})
    }
    ours = {container["image"] for pod in pods.values() for container in pod["containers"]} - {
        container["image"] for container in pods["redis"]["containers"]
    }
    assert all(image.startswith("registry.example.com/stylize-") for image in ours)
    assert pods["worker"]["runtimeClassName"] == "nvidia"
    assert pods["worker"]["nodeSelector"]
    [trigger] = one("ScaledObject", "worker", composed)["spec"]["triggers"]
    assert trigger["metadata"]["serverAddress"] == "http://prometheus-operated.monitoring.svc:9090"
    assert one("ConfigMap", "settings", composed)["data"]["STYLIZE_GATEWAY_PUBLIC_URL"] == "https://pics.example.com"
    kept = set(one("Secret", "stylize", composed)["data"])
    mounted = {
        item["key"]
        for pod in pods.values()
        for volume in pod["volumes"]
        for item in volume.get("secret", {}).get("items", ())
    }
    assert mounted == kept


@pytest.mark.parametrize("found", [found for found in OBJECTS if found["kind"] not in OTHERS], ids=lambda f: f["kind"])
def test_an_object_is_valid_by_the_schema_that_kubernetes_publishes(found: dict[str, Any]) -> None:
    kubernetes_validate.validate(found, KUBERNETES, strict=True)


PODS = {
    "weights": one("Job", "weights")["spec"]["template"],
    "backup": one("CronJob", "backup")["spec"]["jobTemplate"]["spec"]["template"],
}


@pytest.mark.parametrize("name", PODS)
def test_a_pod_is_hardened_and_mounts_what_it_names(name: str) -> None:
    pod = PODS[name]["spec"]
    [container] = pod["containers"]
    assert PODS[name]["metadata"]["labels"] == {"app": name}
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod["automountServiceAccountToken"] is False
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    assert {mount["name"] for mount in container["volumeMounts"]} == {volume["name"] for volume in pod["volumes"]}
    secrets = [item["key"] for volume in pod["volumes"] for item in volume.get("secret", {}).get("items", ())]
    assert secrets == (["redis_url"] if name == "backup" else [])


def ways_out(name: str) -> list[tuple[str, set[int]]]:
    policy = one("NetworkPolicy", name)["spec"]
    assert policy["podSelector"] == {"matchLabels": {"app": name}}
    assert policy["policyTypes"] == ["Egress"]
    return [(str(way["to"]), {port["port"] for port in way["ports"]}) for way in policy["egress"]]


def test_only_the_pull_of_weights_reaches_the_hub() -> None:
    names, hub = ways_out("weights")
    assert names[1] == {53}
    assert hub[1] == {443}
    assert all(private in hub[0] for private in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16"))
    names, redis = ways_out("backup")
    assert redis == ("[{'podSelector': {'matchLabels': {'app': 'redis'}}}]", {6379})
    into_redis = one("NetworkPolicy", "redis-for-backup")["spec"]
    assert into_redis["ingress"][0]["from"] == [{"podSelector": {"matchLabels": {"app": "backup"}}}]


def test_weights_are_those_of_the_settings() -> None:
    [container] = PODS["weights"]["spec"]["containers"]
    assert container["command"][:2] == ["sh", "-c"]
    done = subprocess.run(
        ["sh", "-c", f'stylize() {{ echo "$@"; }}; {container["command"][2]}'],
        env={"STYLIZE_MODELS": "sd15,sdxl", "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "models pull sd15 sdxl\n"


def test_the_monitor_scrapes_ports_that_pods_have_under_the_names_of_the_alerts() -> None:
    spec = one("PodMonitor", "stylize")["spec"]
    base = "".join((EXAMPLE.parent / "base" / f"{name}.yaml").read_text() for name in ("gateway", "worker"))
    ports = re.findall(r"\{name: (\w+), containerPort", base)
    assert [endpoint["port"] for endpoint in spec["podMetricsEndpoints"]] == ["metrics"]
    assert ports.count("metrics") == 2, "the gateway's and the worker's"
    [selected] = spec["selector"]["matchExpressions"]
    assert (selected["key"], selected["values"], spec["jobLabel"]) == ("app", ["gateway", "worker"], "app")


def test_the_ingress_lets_through_what_the_gateway_takes_and_closes_metrics() -> None:
    ingress = one("Ingress", "gateway")
    options = {key.rpartition("/")[2]: value for key, value in ingress["metadata"]["annotations"].items()}
    fields = GatewaySettings.model_fields
    assert int(options["proxy-body-size"].removesuffix("m")) * 2**20 > fields["gateway_body_bytes"].default
    assert int(options["proxy-read-timeout"]) > fields["gateway_wait_seconds"].default
    assert options["proxy-buffering"] == "off"
    [rule] = ingress["spec"]["rules"]
    paths = {path["path"]: (path["pathType"], path["backend"]["service"]["name"]) for path in rule["http"]["paths"]}
    assert paths == {"/metrics": ("Exact", "closed"), "/": ("Prefix", "gateway")}
    assert "selector" not in one("Service", "closed")["spec"]


def test_secrets_are_never_committed() -> None:
    assert (EXAMPLE / "secrets" / ".gitignore").read_text() == "*\n!.gitignore\n"


def test_the_alerts_become_an_object_of_the_operator(tmp_path: Path) -> None:
    """The command of README.md, with a stand-in for kubectl that shows what it is given."""
    [command] = re.findall(r"```\n(\{\n.*?)```", (EXAMPLE.parent / "README.md").read_text(), flags=re.DOTALL)
    (tmp_path / "kubectl").write_text("#!/bin/sh\ncat\n")
    (tmp_path / "kubectl").chmod(0o755)
    environ = {"PATH": f"{tmp_path}:/usr/bin:/bin"}
    done = subprocess.run(["sh", "-c", command], cwd=ROOT, env=environ, capture_output=True, text=True, check=True)
    rules = yaml.safe_load(done.stdout)
    assert rules["kind"] == "PrometheusRule"
    assert rules["spec"] == yaml.safe_load((ROOT / "deploy" / "prometheus" / "alerts.yml").read_text())
    assert rules["metadata"]["labels"] == one("PodMonitor", "stylize")["metadata"]["labels"]
