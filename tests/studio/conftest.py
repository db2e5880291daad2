"""A real Chromium on the real service; where there is no Chromium, these tests say so and are skipped."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from app.auth.key_store import KeyStore
from deploy.embedded.redis import RedisProcess
from tests.studio.desk import Desk
from tests.support.gateway import Gateway
from tests.support.service import PATIENCE, Service, service
from workers.contract.runtime.redis import connect

NAMES = ("chromium", "chromium-browser", "google-chrome")
SWITCHES = ("--no-sandbox", "--disable-dev-shm-usage")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """One process runs all of them: there is one service and one browser."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.xdist_group("studio"))


def chromium() -> str:
    """Return the path of the browser; skips the test where there is none."""
    found = next(filter(None, map(shutil.which, NAMES)), None)
    return found or pytest.skip("no Chromium on this machine: `make browser` installs Debian's, as root")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Per module: while Playwright runs, no other test could start an event loop of its own."""
    executable = chromium()
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=executable, args=SWITCHES, timeout=PATIENCE * 1000)
        yield launched
        launched.close()


@pytest.fixture(scope="session")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """The whole service with a worker on the tiny model."""
    chromium()
    patient = {"STYLIZE_WORKER_STALL_SECONDS": "600", "STYLIZE_LEASE_SECONDS": "30"}
    with service(tmp_path_factory.mktemp("models"), environ=patient) as started:
        yield started


@pytest.fixture(scope="session")
def quiet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A gateway without workers: the test is the worker."""
    folder = tmp_path_factory.mktemp("quiet")
    with RedisProcess(folder / "redis") as redis, Gateway(folder, redis, {"STYLIZE_MODELS": "tiny-sd15"}) as started:
        yield started


@pytest.fixture(scope="session")
def keyed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A gateway that asks for a key, and signs the addresses of pictures."""
    environ = {"STYLIZE_MODELS": "tiny-sd15", "STYLIZE_GATEWAY_URL_KEY": "k" * 40}
    folder = tmp_path_factory.mktemp("keyed")
    with RedisProcess(folder / "redis") as redis, Gateway(folder, redis, environ) as started:
        yield started


@pytest.fixture(scope="session")
def keys(keyed: Gateway) -> KeyStore:
    return KeyStore(connect(keyed.environ["STYLIZE_REDIS_URL"]))


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A page of its own context; whatever it complains about fails the test."""
    context = browser.new_context(viewport={"width": 1280, "height": 900}, reduced_motion="reduce")
    context.set_default_timeout(PATIENCE * 1000)
    made = context.new_page()
    complaints: list[str] = []
    made.on("pageerror", lambda error: complaints.append(f"{error.message}\n{error.stack}"))
    made.on("console", lambda line: complaints.append(line.text) if told(line.type, line.text) else None)
    yield made
    context.close()
    assert complaints == []


def told(kind: str, text: str) -> bool:
    """Return whether a line of the console is a complaint; answers that are errors are what some tests want."""
    return kind == "error" and not text.startswith("Failed to load resource")


@pytest.fixture
def desk(page: Page, running: Service) -> Desk:
    """The studio of the whole service, opened."""
    return Desk(page, f"http://127.0.0.1:{running.port}").open()
