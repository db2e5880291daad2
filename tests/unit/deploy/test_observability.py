"""Alerts and dashboard: what they ask for exists, and every alert says what to do."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard

from deploy.grafana import generate
from tests.support.observed import BEYOND_THE_DESIGN, GATEWAYS_OWN, WORKERS_OWN

DEPLOY = Path(__file__).parents[3] / "deploy"
RULES: list[dict[str, Any]] = [
    rule
    for group in yaml.safe_load((DEPLOY / "prometheus" / "alerts.yml").read_text())["groups"]
    for rule in group["rules"]
]
RULE_TESTS = yaml.safe_load((DEPLOY / "prometheus" / "alerts.test.yml").read_text())["tests"]
CONFIG = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text())
COMPOSE = yaml.safe_load((DEPLOY.parent / "docker-compose.yml").read_text())["services"]
BOARD: dict[str, Any] = json.loads(generate.FILE.read_text())
GRAPHS = [panel for panel in BOARD["panels"] if panel["type"] != "row"]
EXPRESSIONS = [rule["expr"] for rule in RULES] + [target["expr"] for graph in GRAPHS for target in graph["targets"]]
LABELS = {
    *("job", "instance", "method", "state", "reason", "queue", "priority", "stage", "resolution", "model", "result"),
    *("tier", "kind", "outcome", "route", "status", "le"),
}
KNOWN = WORKERS_OWN | GATEWAYS_OWN | BEYOND_THE_DESIGN
ASKED_OF_OTHERS = {"up", "DCGM_FI_DEV_GPU_UTIL", "DCGM_FI_DEV_POWER_USAGE", "DCGM_FI_DEV_GPU_TEMP"}


def metrics(expression: str) -> set[str]:
    found = set(re.findall(r"\b((?:stylize|http_server|DCGM)_\w+|up)\b", expression))
    return {re.sub(r"_seconds_(bucket|sum|count)$", "_seconds", name) for name in found} - ASKED_OF_OTHERS


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_every_metric_exists(expression: str) -> None:
    names = {re.sub(r"_(bucket|sum|count)$", "", name) if name not in KNOWN else name for name in metrics(expression)}
    assert names <= KNOWN


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_every_label_exists(expression: str) -> None:
    grouped = ",".join(re.findall(r"\b(?:by|on|without) \(([^)]*)\)", expression)).replace(" ", "").split(",")
    matched = re.findall(r"(\w+)(?:=|!=|=~|!~)\"", expression)
    assert {label for label in (*grouped, *matched) if label} <= LABELS


def test_every_metric_of_the_design_is_shown() -> None:
    shown = set().union(*(metrics(expression) for expression in EXPRESSIONS))
    shown = {re.sub(r"_(bucket|sum|count)$", "", name) for name in shown}
    assert KNOWN - shown == set()


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_every_alert_has_a_section_in_the_runbook(rule: dict[str, Any]) -> None:
    where, anchor = rule["annotations"]["runbook_url"].split("#")
    [path] = re.findall(r'^\{\{ or \$externalLabels\.runbook "(.*)" \}\}$', where)
    sections = re.findall(r"^### (\w+)$", (DEPLOY.parent / path).read_text(), flags=re.MULTILINE)
    assert rule["alert"] in sections
    assert anchor == rule["alert"].lower()
    assert {"summary", "description"} <= set(rule["annotations"])
    assert rule["labels"]["severity"] in ("page", "ticket")


def test_every_alert_is_tested_to_fire_and_not_to() -> None:
    fires = {t["alertname"] for case in RULE_TESTS for t in case["alert_rule_test"] if t["exp_alerts"]}
    silent = {t["alertname"] for case in RULE_TESTS for t in case["alert_rule_test"] if not t["exp_alerts"]}
    names = {rule["alert"] for rule in RULES}
    assert fires == names
    assert silent == names


@pytest.mark.skipif(shutil.which("promtool") is None, reason="Debian's package prometheus is not installed")
def test_the_rules_do_what_their_tests_say() -> None:
    for command in (["check", "rules", "alerts.yml"], ["test", "rules", "alerts.test.yml"]):
        folder = DEPLOY / "prometheus"
        done = subprocess.run(["promtool", *command], cwd=folder, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


def test_what_wakes_people_is_there() -> None:
    reasons = ("NoWorker", "QueueOld", "Failures", "OutOfMemory", "Redeliveries", "Webhooks", "Redis", "Disk", "Eta")
    names = " ".join(rule["alert"] for rule in RULES)
    assert [reason for reason in reasons if reason not in names] == []


def test_the_gateways_metrics_are_not_on_the_port_that_is_published() -> None:
    port = COMPOSE["gateway"]["environment"]["STYLIZE_GATEWAY_METRICS_PORT"]
    [gateway] = [job for job in CONFIG["scrape_configs"] if job["job_name"] == "gateway"]
    assert gateway["static_configs"] == [{"targets": [f"gateway:{port}"]}]
    [published] = COMPOSE["gateway"]["ports"]
    assert not published.endswith(f":{port}")


def test_the_address_of_the_runbook_is_a_setting() -> None:
    prometheus = COMPOSE["prometheus"]
    assert prometheus["environment"] == {"RUNBOOK_URL": "${RUNBOOK_URL:-}"}
    assert CONFIG["global"]["external_labels"] == {"runbook": "${RUNBOOK_URL}"}
    assert CONFIG["alerting"]["alert_relabel_configs"] == [{"action": "labeldrop", "regex": "runbook"}]


@pytest.mark.parametrize("path", sorted((DEPLOY / "alertmanager").glob("*.yml")), ids=lambda path: path.stem)
def test_alerts_go_to_the_receiver_whose_address_is_a_secret(path: Path) -> None:
    config = yaml.safe_load(path.read_text())
    [receiver] = config["receivers"]
    assert config["route"]["receiver"] == receiver["name"]
    assert config["route"]["group_by"] == ["alertname"]
    [sent] = next(value for key, value in receiver.items() if key.endswith("_configs"))
    assert sent.get("url_file", sent.get("api_url_file")) == "/run/secrets/alert_url"
    assert COMPOSE["alertmanager"]["secrets"] == ["alert_url"]
    [repeated] = config["route"]["routes"]
    assert repeated["matchers"] == ['severity="page"']
    assert any(rule["labels"]["severity"] == "page" for rule in RULES)


@pytest.mark.skipif(shutil.which("amtool") is None, reason="Debian's package prometheus-alertmanager is not installed")
@pytest.mark.parametrize("path", sorted((DEPLOY / "alertmanager").glob("*.yml")), ids=lambda path: path.stem)
def test_alertmanager_takes_its_configuration(path: Path) -> None:
    told = subprocess.run(["amtool", "--version"], capture_output=True, text=True, check=True)
    if tuple(map(int, re.findall(r"version (\d+)\.(\d+)", told.stdout + told.stderr)[0])) < (0, 26):
        pytest.skip("this release knows no `url_file` of a webhook")
    done = subprocess.run(["amtool", "check-config", path], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_prometheus_reads_the_rules_and_scrapes_what_compose_runs() -> None:
    assert CONFIG["rule_files"] == ["alerts.yml"]
    named = {
        name.split(":")[0]
        for job in CONFIG["scrape_configs"]
        for where in (*job.get("static_configs", ()), *job.get("dns_sd_configs", ()))
        for name in (*where.get("targets", ()), *where.get("names", ()))
    }
    workers = {name for name in COMPOSE if name.startswith("worker-")}
    assert named - {"127.0.0.1"} == {"gateway", "dcgm", *workers}
    [alerting] = CONFIG["alerting"]["alertmanagers"]
    assert alerting["dns_sd_configs"][0]["names"] == ["alertmanager"]


def test_the_dashboard_is_what_its_rows_say() -> None:
    assert generate.FILE.read_text() == generate.text(), "run: python -m deploy.grafana.generate --write"


def test_the_dashboard_is_wholly_in_the_schema_that_grafana_publishes() -> None:
    """What Grafana's model does not know is lost when it is read, and what it wants otherwise cannot be read."""
    register_default_plugins()
    read = Dashboard.from_json(BOARD)
    assert json.loads(JSONEncoder().encode(read)) == BOARD
    unknown = Dashboard.from_json(BOARD | {"colour": "green"})
    assert "colour" not in json.loads(JSONEncoder().encode(unknown))


def test_panels_have_their_own_numbers_and_places() -> None:
    assert len({panel["id"] for panel in BOARD["panels"]}) == len(BOARD["panels"])
    taken: set[tuple[int, int]] = set()
    for panel in BOARD["panels"]:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert at["x"] + at["w"] <= 24
        assert not taken & cells
        taken |= cells


def test_panels_ask_the_source_that_is_provisioned() -> None:
    provisioned = yaml.safe_load((DEPLOY / "grafana/provisioning/datasources/prometheus.yml").read_text())
    uids = {source["uid"] for source in provisioned["datasources"]}
    assert {target["datasource"]["uid"] for graph in GRAPHS for target in graph["targets"]} <= uids
    folders = yaml.safe_load((DEPLOY / "grafana/provisioning/dashboards/stylize.yml").read_text())["providers"]
    assert [folder["options"]["path"] for folder in folders] == ["/etc/grafana/dashboards"]


def test_legends_name_labels() -> None:
    for graph in GRAPHS:
        for target in graph["targets"]:
            assert set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"])) <= LABELS | {
                "gpu",
                "version",
                "torch",
                "cuda",
            }
