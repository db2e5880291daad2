"""Addresses: no redirect, a prefix that the proxy takes off or leaves, `/v1` and its aliases."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.support.gateway import Gateway
from tests.support.pictures import FORM, encoded, picture, style
from tests.support.service import until
from tests.unit.app.middleware.conftest import PUBLIC

TLS = {"Host": "pics.example.com", "X-Forwarded-Proto": "https"}
ALIASES = ["/jobs", "/styles", "/methods", "/models", "/webhooks/secret", "/jobs/unknown", "/jobs/unknown/images/0"]


@pytest.mark.parametrize(
    "path", ["/stylize/", "/jobs/", "/docs/", "/studio", "/static-offline-docs", "/v1/jobs/", "//"]
)
def test_no_address_is_redirected(gateway: Gateway, proxied: Gateway, path: str) -> None:
    for running, headers in ((gateway, {}), (proxied, TLS)):
        answer = running.client.get(path, headers=headers)
        assert answer.status_code in (200, 404, 405), path
        assert "location" not in answer.headers


@pytest.mark.parametrize("prefix", ["", "/stylize"], ids=["taken off", "left"])
@pytest.mark.parametrize(
    ("path", "status"),
    [("/", 200), ("/docs", 200), ("/openapi.json", 200), ("/jobs", 200), ("/v1/jobs", 200), ("/livez", 204)],
)
def test_a_prefix_is_served_whether_the_proxy_takes_it_off_or_not(
    proxied: Gateway, prefix: str, path: str, status: int
) -> None:
    assert proxied.client.get(prefix + path, headers=TLS).status_code == status


def test_a_prefix_of_the_name_of_a_path_hides_no_path(proxied: Gateway) -> None:
    for path in ("/stylize", "/stylize/stylize", "/v1/stylize", "/stylize/v1/stylize"):
        answer = proxied.client.post(path, data=FORM, files=style(), headers=TLS)
        assert answer.status_code == 202, path
        assert answer.headers["location"].startswith(f"{PUBLIC}/jobs/")


def test_the_document_names_the_public_address(proxied: Gateway, gateway: Gateway) -> None:
    assert proxied.client.get("/openapi.json").json()["servers"] == [{"url": PUBLIC}]
    assert gateway.client.get("/openapi.json").json()["servers"] == [{"url": "/"}]


def test_the_page_of_the_documentation_loads_what_is_beside_it(gateway: Gateway) -> None:
    page = gateway.client.get("/docs").text
    assert "'openapi.json'" in page
    assert 'src="static-offline-docs/' in page
    assert gateway.client.get("/static-offline-docs/swagger-ui-bundle.js").status_code == 200


@pytest.mark.parametrize("path", ALIASES)
def test_a_path_without_its_version_is_an_alias(gateway: Gateway, path: str) -> None:
    plain, versioned = gateway.client.get(path), gateway.client.get(f"/v1{path}")
    assert (versioned.status_code, versioned.json()) == (plain.status_code, plain.json())
    assert gateway.client.head(f"/v1{path}").status_code == plain.status_code


@pytest.mark.parametrize("path", ["/v1/livez", "/v1/docs", "/v1/openapi.json", "/v1/v1/jobs", "/v1", "/v1/", "/v1/x"])
def test_nothing_else_has_a_version(gateway: Gateway, path: str) -> None:
    assert gateway.client.get(path).status_code == 404


@pytest.mark.parametrize("scheme", ["https", "HTTPS, http", "http", "gopher"])
def test_an_openai_answer_leads_back_the_way_the_caller_came(gateway: Gateway, scheme: str) -> None:
    headers = {"X-Forwarded-Proto": scheme, "Host": "localhost", "Idempotency-Key": f"way-{len(scheme)}"}
    sent = {"model": "signal-leak", "prompt": scheme, "response_format": "url", "size": "64x64", "steps": "2"}
    with ThreadPoolExecutor(1) as caller:
        files = {"image": ("style.png", encoded(picture()))}
        asked = caller.submit(gateway.client.post, "/v1/images/edits", data=sent, files=files, headers=headers)
        until(lambda: asked.done() or told(gateway, scheme), "the job is there")
        (job,) = told(gateway, scheme)
        gateway.finish(job, encoded(picture()))
        answer = asked.result()
    again = gateway.client.post("/v1/images/edits", data=sent, files=files, headers=headers)
    assert [one.headers.get("idempotent-replayed") for one in (answer, again)] == [None, "true"]
    (shown,) = answer.json()["data"]
    assert again.json()["data"] == [shown]
    expected = "https" if scheme.lower().startswith("https") else "http"
    assert shown["url"] == f"{expected}://localhost/jobs/{job}/images/0"


def told(gateway: Gateway, prompt: str) -> list[str]:
    """Return the ids of the waiting jobs that have a prompt."""
    jobs = gateway.client.get("/jobs", params={"state": "queued", "limit": 100}).json()["jobs"]
    return [job["id"] for job in jobs if job["recipe"]["prompt"] == prompt]
