"""One service with two workers for all fault tests; whatever a test killed is started again."""

from collections.abc import Iterator

import pytest

from tests.service import Service, ready, service, until


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
