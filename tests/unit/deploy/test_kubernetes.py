"""The Kubernetes manifests: valid by their published schemas, hardened, scaled, closed, and true to our settings."""

import json
import re
from copy import deepcopy
from itertools import chain
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml

from app.cli.env_file import names
from app.webhooks.url_policy import PORTS
from tests.support.observed import BEYOND_THE_DESIGN, GATEWAYS_OWN

FOLDER = Path(__file__).parents[3] / "deploy" / "kubernetes" / "base"
KUSTOMIZATION = yaml.safe_load((FOLDER / "kustomization.yaml").read_text())
OBJECTS: list[dict[str, Any]] = [
    found for name in KUSTOMIZATION["resources"] for found in yaml.safe_load_all((FOLDER / name).read_text())
]
VERSIONS = {
    "Namespace": "v1",
    "ConfigMap": "v1",
    "Service": "v1",
    "PersistentVolumeClaim": "v1",
    "Deployment": "apps/v1",
    "StatefulSet": "apps/v1",
    "PodDisruptionBudget": "policy/v1",
    "NetworkPolicy": "networking.k8s.io/v1",
    "HorizontalPodAutoscaler": "autoscaling/v2",
    "ScaledObject": "keda.sh/v1alpha1",
}
KUBERNETES = "1.33"
WORKLOADS = [found for found in OBJECTS if found["kind"] in ("Deployment", "StatefulSet")]
PODS: dict[str, dict[str, Any]] = {load["metadata"]["name"]: load["spec"]["template"]["spec"] for load in WORKLOADS}
OURS = ("gateway", "sweeper", "worker")


def one(kind: str, name: str) -> dict[str, Any]:
    [found] = [found for found in OBJECTS if (found["kind"], found["metadata"]["name"]) == (kind, name)]
    return found


def container(name: str) -> dict[str, Any]:
    [only] = PODS[name]["containers"]
    return dict(only)


def environment(name: str) -> dict[str, str]:
    settings = one("ConfigMap", "settings")["data"]
    return settings | {entry["name"]: entry["value"] for entry in container(name).get("env", ())}


def test_every_file_is_listed_and_every_object_of_a_known_version() -> None:
    files = {path.name for path in FOLDER.glob("*.yaml")} - {"kustomization.yaml"}
    assert set(KUSTOMIZATION["resources"]) == files
    assert {found["kind"]: found["apiVersion"] for found in OBJECTS} == VERSIONS


BUILT_IN = [found for found in OBJECTS if found["kind"] != "ScaledObject"]


@pytest.mark.parametrize("found", BUILT_IN, ids=lambda found: f"{found['kind']}-{found['metadata']['name']}")
def test_an_object_is_valid_by_the_schema_that_kubernetes_publishes(found: dict[str, Any]) -> None:
    kubernetes_validate.validate(found, KUBERNETES, strict=True)


def test_a_misspelt_field_is_not_valid() -> None:
    [budget] = [found for found in OBJECTS if found["kind"] == "PodDisruptionBudget"][:1]
    with pytest.raises(kubernetes_validate.ValidationError, match="minAvailble"):
        kubernetes_validate.validate(budget | {"spec": {"minAvailble": 1}}, KUBERNETES, strict=True)


SCALED_OBJECT = jsonschema.Draft202012Validator(
    json.loads((Path(__file__).parent / "schemas" / "keda-scaledobject.json").read_text())
)


def test_no_object_goes_without_a_schema() -> None:
    assert [found["kind"] for found in OBJECTS if found not in BUILT_IN] == ["ScaledObject"]


def test_the_scaled_object_is_valid_by_the_schema_that_keda_publishes() -> None:
    faults = SCALED_OBJECT.iter_errors(one("ScaledObject", "worker"))
    assert [f"{fault.json_path}: {fault.message}" for fault in faults] == []


@pytest.mark.parametrize(
    ("path", "key", "value"),
    [
        (("spec",), "maxReplicas", 8),
        (("spec",), "pollingInterval", "15s"),
        (("spec", "fallback"), "replicas", None),
        (("spec", "scaleTargetRef"), "deployment", "worker"),
        (("spec", "triggers", 0, "metadata"), "threshold", 8),
        (
            ("spec", "advanced", "horizontalPodAutoscalerConfig", "behavior", "scaleDown"),
            "stabilizationWindowSeconds",
            3601,
        ),
    ],
)
def test_a_fault_in_the_scaled_object_is_refused(path: tuple[str | int, ...], key: str, value: object) -> None:
    ill = deepcopy(one("ScaledObject", "worker"))
    place: Any = ill
    for step in path:
        place = place[step]
    place[key] = value
    [fault] = SCALED_OBJECT.iter_errors(ill)
    assert key in f"{fault.json_path} {fault.message}"


@pytest.mark.parametrize("name", PODS)
def test_pods_are_hardened(name: str) -> None:
    pod = PODS[name]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod["automountServiceAccountToken"] is False
    assert container(name)["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert {"requests", "limits"} == set(container(name)["resources"])


@pytest.mark.parametrize("name", PODS)
def test_what_is_selected_mounted_and_named_exists(name: str) -> None:
    [load] = [load for load in WORKLOADS if load["metadata"]["name"] == name]
    assert load["spec"]["selector"]["matchLabels"] == load["spec"]["template"]["metadata"]["labels"]
    claimed = [claim["metadata"]["name"] for claim in load["spec"].get("volumeClaimTemplates", ())]
    volumes = {volume["name"] for volume in PODS[name]["volumes"]} | set(claimed)
    assert {mount["name"] for mount in container(name)["volumeMounts"]} == volumes
    maps = [volume["configMap"]["name"] for volume in PODS[name]["volumes"] if "configMap" in volume]
    maps += [source["configMapRef"]["name"] for source in container(name).get("envFrom", ())]
    for found in maps:
        one("ConfigMap", found)


@pytest.mark.parametrize("name", OURS)
def test_our_variables_are_settings_and_secrets_are_files(name: str) -> None:
    ours = {key for key in environment(name) if key.startswith("STYLIZE_")}
    assert {key.removesuffix("_FILE") for key in ours} <= names()
    files = {Path(value).name for value in environment(name).values() if value.startswith("/run/secrets/stylize/")}
    made = set(re.findall(r"make (\w+)$|/(s3_credentials)\"", MAKE_SECRETS, flags=re.MULTILINE))
    assert files <= set(chain.from_iterable(made))


@pytest.mark.parametrize(
    ("name", "keys"),
    [
        ("gateway", {"redis_url", "s3_credentials", "url_key"}),
        ("sweeper", {"redis_url", "s3_credentials"}),
        ("worker", {"redis_url", "s3_credentials"}),
        ("redis", {"redis_auth"}),
    ],
)
def test_a_pod_gets_only_the_secrets_that_it_uses(name: str, keys: set[str]) -> None:
    [volume] = [volume for volume in PODS[name]["volumes"] if "secret" in volume]
    assert {item["key"] for item in volume["secret"]["items"]} == keys


def test_gateways_count_the_rates_of_keys_together() -> None:
    assert environment("gateway")["STYLIZE_GATEWAY_LIMITS_URL_FILE"] == "/run/secrets/stylize/redis_url"
    assert one("HorizontalPodAutoscaler", "gateway")["spec"]["minReplicas"] > 1


@pytest.mark.parametrize(
    ("name", "variable"),
    [("gateway", "STYLIZE_GATEWAY_METRICS_PORT"), ("worker", None)],
)
def test_metrics_are_on_a_port_that_only_monitoring_reaches(name: str, variable: str | None) -> None:
    ports = {port["name"]: port["containerPort"] for port in container(name)["ports"]}
    assert variable is None or environment(name)[variable] == str(ports["metrics"])
    annotations = one("Deployment", name)["spec"]["template"]["metadata"]["annotations"]
    assert annotations["prometheus.io/port"] == str(ports["metrics"])
    [monitoring] = [
        way["from"]
        for way in one("NetworkPolicy", name)["spec"]["ingress"]
        if ports["metrics"] in [port["port"] for port in way["ports"]]
    ]
    assert "monitoring" in str(monitoring)


def test_images_have_a_version() -> None:
    found = yaml.safe_load((FOLDER / "kustomization.yaml").read_text())["images"]
    assert all(re.fullmatch(r"\d+\.\d+\.\d+", image["newTag"]) for image in found)


def test_the_gateway_reaches_what_webhooks_may_be_and_answers_to_its_service() -> None:
    policies = [found["spec"] for found in OBJECTS if found["kind"] == "NetworkPolicy"]
    ways = [way for policy in policies if applies(policy, "gateway") for way in policy.get("egress", ())]
    public = {port["port"] for way in ways if "ipBlock" in str(way) for port in way["ports"]}
    assert public == PORTS
    hosts = one("ConfigMap", "settings")["data"]["STYLIZE_GATEWAY_ALLOWED_HOSTS"].split(",")
    assert {"gateway", "gateway.stylize.svc.cluster.local"} <= set(hosts)


MAKE_SECRETS = (FOLDER.parents[1] / "compose" / "make-secrets.sh").read_text()


def test_a_worker_has_a_gpu_and_time_to_drain() -> None:
    assert container("worker")["resources"]["limits"]["nvidia.com/gpu"] == "1"
    grace = float(environment("worker")["STYLIZE_WORKER_GRACE_SECONDS"])
    assert PODS["worker"]["terminationGracePeriodSeconds"] > grace + 10
    assert "preStop" in container("worker")["lifecycle"]
    assert "preStop" in container("gateway")["lifecycle"]


@pytest.mark.parametrize("name", ["gateway", "worker"])
def test_disruptions_are_bounded_and_autoscalers_decide(name: str) -> None:
    assert one("PodDisruptionBudget", name)["spec"]["selector"]["matchLabels"] == {"app": name}
    assert "replicas" not in one("Deployment", name)["spec"]
    kind = "HorizontalPodAutoscaler" if name == "gateway" else "ScaledObject"
    assert one(kind, name)["spec"]["scaleTargetRef"]["name"] == name


def test_workers_scale_on_what_is_queued_and_running() -> None:
    scaled = one("ScaledObject", "worker")["spec"]
    [trigger] = scaled["triggers"]
    assert trigger["type"] == "prometheus"
    asked = set(re.findall(r"stylize_\w+", trigger["metadata"]["query"]))
    assert asked == {"stylize_jobs_queued", "stylize_jobs_running"}
    assert asked <= GATEWAYS_OWN | BEYOND_THE_DESIGN
    assert scaled["cooldownPeriod"] >= 300


def test_everything_is_closed_and_workers_reach_only_names_and_stores() -> None:
    policies = [found["spec"] for found in OBJECTS if found["kind"] == "NetworkPolicy"]
    assert {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]} in policies
    ways_out = [way for policy in policies if applies(policy, "worker") for way in policy.get("egress", ())]
    assert {port["port"] for way in ways_out for port in way["ports"]} == {53, 6379, 9000}
    assert not [to for way in ways_out for to in way["to"] if "ipBlock" in to]


def applies(policy: dict[str, Any], app: str) -> bool:
    selector = policy["podSelector"]
    listed = [value for rule in selector.get("matchExpressions", ()) for value in rule["values"]]
    return selector == {} or selector.get("matchLabels", {}).get("app") == app or app in listed


def test_redis_is_set_up_as_every_process_verifies() -> None:
    lines = one("ConfigMap", "redis")["data"]["redis.conf"].splitlines()
    assert {"appendonly yes", "appendfsync always", "maxmemory-policy noeviction"} <= set(lines)
