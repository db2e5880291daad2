"""One service with two workers for all tests of real pipelines, one with fake engines for each file of the others."""

from collections.abc import Iterator

import pytest

from tests.faults.harness.stack import PATIENT, Stack, stack
from tests.support.service import Service, ready, service, until


@pytest.fixture(scope="session")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with service(tmp_path_factory.mktemp("models"), workers=2) as started:
        yield started


@pytest.fixture
def whole(running: Service) -> Service:
    """The service with every process there and nothing to do."""
    for child in running.children:
        if child.process is None or child.process.poll() is not None:
            child.start()
    until(lambda: ready(running.client), "the service is ready")
    until(lambda: not running.client.get("/jobs", params={"state": "running"}).json()["jobs"], "all jobs are done")
    return running


@pytest.fixture(scope="module")
def _fake() -> Iterator[Stack]:
    with stack(workers=2, environ=PATIENT) as started:
        yield started


@pytest.fixture
def fake(_fake: Stack) -> Stack:
    """Two workers with fake engines; whatever a test killed is there again."""
    _fake.await_workers()
    return _fake
