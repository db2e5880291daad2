"""`python -m tests.bench.engine.composed`: the services of docker-compose.yml, run from the built images in its order.

No daemon is needed. Each service runs in the builder's chroot with its user, command, environment, secrets and volumes,
and starts when the health checks of what it depends on say so; then one job is done, the doctor looks, and ours must
end. Not Compose's: the network is this machine's, with free ports, and Redis is the server that the tests use, with
`deploy/compose/redis.conf`.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any

import httpx2
import yaml

from deploy.embedded.demo import free_port
from deploy.embedded.redis import find_server
from tests.bench._buildah import ROOT, ask_to_end, config, container, running
from tests.support.service import finished, quick, style_file, until

Service = dict[str, Any]
Command = tuple[str, ...]
PROFILE = "cpu"
COMPOSE = ROOT / "deploy" / "compose"
DUMMY_KEY = 10001
PATIENCE = 600.0
PORTS = {"STYLIZE_GATEWAY_PORT": "8000", "STYLIZE_WORKER_METRICS_PORT": "9100"}


def services() -> dict[str, Service]:
    """Return all services, with the defaults of their variables."""
    text = re.sub(r"\$\{\w+:?-([^}]*)\}", r"\1", (ROOT / "docker-compose.yml").read_text())
    return dict(yaml.safe_load(text)["services"])


def in_order(found: dict[str, Service]) -> list[str]:
    """Return the names of the profile's services, each after those that it depends on."""
    wanted = {name: one for name, one in found.items() if PROFILE in one.get("profiles", [PROFILE])}
    needs = {name: [other for other in one.get("depends_on", {}) if other in wanted] for name, one in wanted.items()}
    return list(TopologicalSorter(needs).static_order())


class Host:
    """Secrets, volumes, containers and processes of the services, in a folder; closed, all of it is gone."""

    def __init__(self, folder: Path, ends: ExitStack) -> None:
        self.folder = folder
        self.ends = ends
        self.redis_port = free_port()
        self.ports = {name: str(free_port()) for name in PORTS}
        self.children: dict[str, subprocess.Popen[bytes]] = {}
        folder.chmod(0o755)
        self.secrets = Path(shutil.copy(COMPOSE / "make-secrets.sh", folder)).parent / "secrets"
        subprocess.run(["sh", folder / "make-secrets.sh"], check=True, capture_output=True)
        url = self.secrets / "redis_url"
        url.write_text(url.read_text().replace("@redis:6379", f"@127.0.0.1:{self.redis_port}"))
        for volume in ("data", "models", "redis"):
            (folder / volume).mkdir()
            os.chown(folder / volume, DUMMY_KEY, DUMMY_KEY)

    def start(self, name: str, service: Service) -> None:
        """Start a service and wait until it is healthy. Ends the program when it ends."""
        began = time.monotonic()
        command, check = self.redis(service) if name == "redis" else self.ours(name, service)
        log = self.folder / f"{name}.log"
        child = subprocess.Popen(command, stdout=self.ends.enter_context(log.open("wb")), stderr=subprocess.STDOUT)
        self.children[name] = child
        self.ends.callback(child.wait)
        self.ends.callback(child.terminate)

        def healthy() -> bool:
            if child.poll() is not None:
                raise SystemExit(f"{name} ended:\n{log.read_text()[-3000:]}")
            return not check or subprocess.run(check, capture_output=True, check=False).returncode == 0

        until(healthy, f"{name} is healthy", patience=PATIENCE)
        print(f"{name}: {'healthy' if check else 'started'} after {time.monotonic() - began:.1f} s", flush=True)

    def ours(self, name: str, service: Service) -> tuple[Command, Command]:
        """Return the commands that run and check a service of one of our images; no check where it has none."""
        image = config(service["image"])
        run = self.inside(name, service, tuple(service.get("command") or image["Cmd"]))
        if service.get("healthcheck", {}).get("disable"):
            return run, ()
        check = " ".join(image["Healthcheck"]["Test"][1:])
        for variable, port in PORTS.items():
            check = check.replace(f":{port}/", f":{self.ports[variable]}/")
        return run, self.inside(name, service, tuple(check.split()))

    def inside(self, name: str, service: Service, command: Command) -> Command:
        """Return the command that runs another one as a service does, in a container of its image."""
        given = self.folder / f"secrets-of-{name}"
        given.mkdir(exist_ok=True)
        for secret in service["secrets"]:
            shutil.copy(self.secrets / secret, given)
        return running(
            self.ends.enter_context(container(service["image"])),
            command,
            user=config(service["image"])["User"],
            environ={**service["environment"], **self.ports, "OMP_NUM_THREADS": "1"},
            volumes=(*(f"{self.folder}/{one}" for one in service.get("volumes", ())), f"{given}:/run/secrets:ro"),
        )

    def redis(self, service: Service) -> tuple[Command, Command]:
        """Return the commands that run and check Redis on this machine."""

        def here(text: str) -> str:
            return text.replace("/run/secrets", str(self.secrets))

        file = self.folder / "redis.conf"
        lines = here((COMPOSE / "redis.conf").read_text()).replace("dir /data", f"dir {self.folder}/redis")
        file.write_text(f"{lines}bind 127.0.0.1\nport {self.redis_port}\n")
        client = f"{find_server().with_name('redis-cli')} -p {self.redis_port}"
        check = here(service["healthcheck"]["test"][1]).replace("$$", "$").replace("redis-cli", client)
        return (str(find_server()), str(file)), ("sh", "-c", check)

    def tool(self, name: str, *arguments: str) -> str:
        """Run one of the tools, as `docker compose run` does; return what it prints. Ends the program when it fails."""
        service = services()[name]
        command = self.inside(name, service, (*service["entrypoint"], *arguments))
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(f"{name} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
        return done.stdout.strip()

    def end(self, name: str, grace: float) -> None:
        """Ask a service to end. Ends the program when it does not within the grace, or with a fault."""
        began = time.monotonic()
        ask_to_end(self.children[name])
        status = self.children[name].wait(grace)
        print(f"{name}: ended with {status} after {time.monotonic() - began:.1f} s", flush=True)
        if status:
            raise SystemExit((self.folder / f"{name}.log").read_text()[-3000:])


def standing(client: httpx2.Client) -> str:
    """Return how the default model stands, as the gateway tells."""
    [model] = client.get("/models").raise_for_status().json()["models"]
    return f"{model['id']} is {model['state']}"


def one_job(client: httpx2.Client) -> None:
    """Have a picture made on the default model. Ends the program when there is none."""
    accepted = client.post("/stylize", data=quick(prompt="a red house"), files=style_file())
    if accepted.status_code != httpx2.codes.ACCEPTED:
        raise SystemExit(f"POST /stylize answered {accepted.status_code}: {accepted.text}")
    job = finished(client, accepted.json()["id"])
    if job["state"] != "succeeded":
        raise SystemExit(f"the job {job['state']}: {job['error']}")
    picture = client.get(job["images"][0]["url"]).raise_for_status()
    print(f"job: {job['state']} on {job['model']}, {picture.headers['content-type']} of {len(picture.content)} bytes")


def run() -> None:
    """Start all, do one job, have the doctor look, end ours. Ends the program when something is not as it must be."""
    found = services()
    names = in_order(found)
    with tempfile.TemporaryDirectory(prefix="stylize-") as folder, ExitStack() as ends:
        host = Host(Path(folder), ends)
        address = f"http://127.0.0.1:{host.ports['STYLIZE_GATEWAY_PORT']}"
        client = ends.enter_context(httpx2.Client(base_url=address, timeout=60))
        for name in names:
            host.start(name, found[name])
            if name == "redis":  # as the runbook says: without a key the gateway does not listen to others
                client.headers["authorization"] = f"Bearer {host.tool('keys', 'create', 'me')}"
            if name == "gateway":
                print(f"gateway: {standing(client)}")
        print(f"gateway: {standing(client)}")
        one_job(client)
        print(host.tool("doctor"))
        for name in [name for name in reversed(names) if name != "redis"]:
            host.end(name, float(found[name].get("stop_grace_period", "10s").removesuffix("s")))


def main() -> int:
    """Run the services from images built before."""
    run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
