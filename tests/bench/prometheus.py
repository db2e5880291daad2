"""`python -m tests.bench.prometheus`: a real Prometheus scrapes the service under load and answers the whole dashboard.

Needs `prometheus` and `promtool` on PATH (Debian's package `prometheus`). Also lints with promtool what the processes
expose, and runs the rule tests of the alerts.
"""

import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import yaml

from deploy.embedded.demo import free_port
from deploy.embedded.processes import ChildProcess
from deploy.embedded.stack import end
from deploy.grafana import generate
from tests.support.observed import BEYOND_THE_DESIGN, GATEWAYS_OWN, WORKERS_OWN, Observed, observed
from tests.support.service import quick, until

RULES = Path(__file__).parents[2] / "deploy" / "prometheus"
LOAD_SECONDS = 30.0
NOT_HERE = {"stylize_gpu_memory_bytes", "stylize_webhook_deliveries_total"}
"""Without a GPU and without webhooks these have no samples."""


def promtool(*arguments: str, text: str | None = None) -> None:
    """Run promtool; ends the program when it finds a fault."""
    done = subprocess.run(["promtool", *arguments], input=text, capture_output=True, text=True, check=False)
    print(f"promtool {' '.join(arguments)}: {'ok' if done.returncode == 0 else 'FAILED'}")
    if done.returncode:
        raise SystemExit(done.stdout + done.stderr)


@contextmanager
def prometheus(folder: Path, seen: Observed) -> Iterator[httpx2.Client]:
    """Yield a client of a Prometheus that scrapes the service each second and evaluates the alerts."""
    targets = {"gateway": seen.service.client.base_url.netloc.decode(), "worker": seen.worker_url.split("/")[2]}
    config = {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": [str(RULES / "alerts.yml")],
        "scrape_configs": [{"job_name": job, "static_configs": [{"targets": [at]}]} for job, at in targets.items()],
    }
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
    port = free_port()
    options = (f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data")
    child = ChildProcess("prometheus", ("prometheus", *options, f"--web.listen-address=127.0.0.1:{port}"), {})
    child.start()
    with httpx2.Client(base_url=f"http://127.0.0.1:{port}") as client:
        try:
            until(lambda: answers(client), "Prometheus is ready")
            yield client
        finally:
            end((child,))


def answers(client: httpx2.Client) -> bool:
    """Return whether Prometheus is ready."""
    try:
        return client.get("/-/ready").is_success
    except httpx2.TransportError:
        return False


def query(client: httpx2.Client, expression: str) -> list[Any]:
    """Return what an expression gives now; ends the program when Prometheus refuses it."""
    answer = client.get("/api/v1/query", params={"query": expression.replace("$__rate_interval", "20s")}).json()
    if answer["status"] != "success":
        raise SystemExit(f"{expression}: {answer}")
    return list(answer["data"]["result"])


def load(seen: Observed) -> int:
    """Keep the service busy for a while; return how many jobs were done."""
    deadline, done = time.monotonic() + LOAD_SECONDS, 0
    while time.monotonic() < deadline:
        jobs = [seen.service.submit(quick(seed=done + n))["id"] for n in range(4)]
        done += sum(seen.service.finished(job)["state"] == "succeeded" for job in jobs)
    return done


def check(client: httpx2.Client, seen: Observed) -> None:
    """Compare what Prometheus knows with what there must be."""
    known = set(client.get("/api/v1/label/__name__/values").json()["data"])
    for name in sorted(WORKERS_OWN | GATEWAYS_OWN | BEYOND_THE_DESIGN - NOT_HERE):
        if not {name, f"{name}_bucket"} & known and name not in NOT_HERE:
            raise SystemExit(f"Prometheus has no {name}")
    shown = [line for _, row in generate.ROWS for panel in row for line in panel.lines]
    full = sum(bool(query(client, expression)) for _, expression in shown)
    print(f"dashboard: {full} of {len(shown)} lines have data; the others need a GPU, webhooks or a lost worker")
    rules = client.get("/api/v1/rules").json()["data"]["groups"][0]["rules"]
    ill = [rule["name"] for rule in rules if rule["health"] != "ok"]
    print(f"alerts: {len(rules)} evaluated, not in order: {ill}, firing: {[r['name'] for r in rules if r['alerts']]}")
    if ill:
        raise SystemExit(1)


def main() -> int:
    """Run everything; returns the exit status."""
    if missing := [name for name in ("prometheus", "promtool") if shutil.which(name) is None]:
        print(f"not on PATH: {', '.join(missing)}; install Debian's package prometheus", file=sys.stderr)
        return 2
    promtool("check", "config", "--syntax-only", str(RULES / "prometheus.yml"))
    promtool("check", "rules", str(RULES / "alerts.yml"))
    promtool("test", "rules", str(RULES / "alerts.test.yml"))
    with tempfile.TemporaryDirectory(prefix="stylize-") as folder:
        models = Path(folder) / "models"
        with observed(models) as seen, prometheus(Path(folder), seen) as client:
            promtool("check", "metrics", text=seen.gateway_text())
            promtool("check", "metrics", text=seen.worker_text())
            print(f"load: {load(seen)} jobs in {LOAD_SECONDS:.0f} s")
            check(client, seen)
    return 0


if __name__ == "__main__":
    sys.exit(main())
