"""One trace from the HTTP request through the wake-up to each stage, as a collector on this machine receives it."""

import gzip
import http.server
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from tests.support.service import MODEL, PATIENCE, Service, kill, quick, service, until
from workers.contract.runtime.settings import Settings
from workers.contract.runtime.tracing import current_traceparent, open_tracing, remote_span, start_span

pytestmark = pytest.mark.xdist_group("service")

PROMPT = "a very private garden"
CALLER = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
STAGES = {"wait", "claim", "fetch", "load", "prepare", "style", "denoise", "decode", "publish", "commit"}


class Collector(http.server.ThreadingHTTPServer):
    """Takes OTLP over HTTP; keeps the spans by the service that sent them."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Intake)
        self.spans: list[tuple[str, Span]] = []
        self.raw = b""

    def taken(self, request: ExportTraceServiceRequest, body: bytes) -> None:
        self.raw += body
        for part in request.resource_spans:
            facts = {fact.key: fact.value.string_value for fact in part.resource.attributes}
            self.spans += [(facts["service.name"], span) for scope in part.scope_spans for span in scope.spans]

    def of(self, trace: bytes) -> list[tuple[str, Span]]:
        return [(name, span) for name, span in self.spans if span.trace_id == trace]

    def roots(self, name: str) -> list[Span]:
        return [span for _, span in self.spans if span.name == name]


class Intake(http.server.BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        body = gzip.decompress(body) if self.headers.get("content-encoding") == "gzip" else body
        assert isinstance(self.server, Collector)
        self.server.taken(ExportTraceServiceRequest.FromString(body), body)
        answer = ExportTraceServiceResponse().SerializeToString()
        self.send_response(200 if self.path == "/v1/traces" else 404)
        self.send_header("content-length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_: object) -> None:
        """Nothing."""


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    with Collector() as listening:
        thread = threading.Thread(target=listening.serve_forever, daemon=True)
        thread.start()
        yield listening
        listening.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def traced(collector: Collector, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    environ = {
        "STYLIZE_TRACING": "true",
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{collector.server_port}",
        "OTEL_BSP_SCHEDULE_DELAY": "100",
    }
    with service(tmp_path_factory.mktemp("models"), environ=environ) as running:
        yield running


def facts(span: Span) -> dict[str, Any]:
    return {
        fact.key: fact.value.string_value or fact.value.int_value or fact.value.bool_value for fact in span.attributes
    }


def asked(traced: Service, collector: Collector, **fields: Any) -> tuple[dict[str, Any], list[tuple[str, Span]]]:
    """Return a finished job and the spans of its trace, once its outermost one has come."""
    accepted = traced.submit(quick(**fields), headers={"traceparent": CALLER} if fields.get("seed") == 1 else {})
    job = traced.finished(accepted["id"])

    def outermost() -> list[Span]:
        return [span for span in collector.roots("job") if facts(span)["stylize.job.id"] == job["id"]]

    until(outermost, "the job's span has come")
    trace = outermost()[0].trace_id
    wanted = {"POST /stylize", "ring"}
    until(lambda: wanted <= {span.name for _, span in collector.of(trace)}, "the gateway's spans have come")
    return job, collector.of(trace)


def test_one_trace_from_the_request_to_each_stage(traced: Service, collector: Collector) -> None:
    job, spans = asked(traced, collector, prompt=PROMPT)
    assert job["state"] == "succeeded"
    assert {span.name for name, span in spans if name == "stylize-worker"} >= STAGES
    assert {"POST /stylize", "ring"} <= {span.name for name, span in spans if name == "stylize-gateway"}
    by_id = {span.span_id: span for _, span in spans}
    [(_, request)] = [one for one in spans if one[1].name == "POST /stylize"]
    assert request.parent_span_id == b""
    assert request.kind == Span.SPAN_KIND_SERVER
    assert facts(request) == {
        "http.request.method": "POST",
        "http.route": "/stylize",
        "http.response.status_code": 202,
    }
    above = {span.name: by_id[span.parent_span_id].name for _, span in spans if span is not request}
    assert {name: above[name] for name in ("ring", "wait", "claim", "job")} == dict.fromkeys(
        ("ring", "wait", "claim", "job"), "POST /stylize"
    )
    assert above["style"] == "prepare"
    assert {above[name] for name in STAGES - {"wait", "claim", "style"}} == {"job"}


def test_spans_say_what_was_done_and_never_the_prompt(traced: Service, collector: Collector) -> None:
    job, spans = asked(traced, collector, prompt=PROMPT, seed=8)
    [outermost] = [span for _, span in spans if span.name == "job"]
    told = {name.removeprefix("stylize.job."): fact for name, fact in facts(outermost).items()}
    assert told.pop("worker") == "worker-0"
    assert told == {
        **{"id": job["id"], "attempt": 1, "method": "signal-leak", "model": MODEL},
        **{"num_images": 1, "width": 64, "height": 64, "steps": 2},
    }
    assert PROMPT.encode() not in collector.raw


def test_the_times_are_those_of_the_job(traced: Service, collector: Collector) -> None:
    job, spans = asked(traced, collector, seed=9, steps=20)
    lasted = {span.name: (span.end_time_unix_nano - span.start_time_unix_nano) / 1e9 for _, span in spans}
    for stage in ("load", "prepare", "denoise", "decode", "publish"):
        assert lasted[stage] >= job["timings"][stage] - 0.01, "a span covers its stage"
    assert lasted["wait"] == pytest.approx(job["timings"]["queue"], abs=0.002)
    assert lasted["job"] >= lasted["denoise"]


def test_a_callers_own_trace_goes_on(traced: Service, collector: Collector) -> None:
    _, spans = asked(traced, collector, seed=1)
    [request] = [span for _, span in spans if span.name == "POST /stylize"]
    assert (request.trace_id.hex(), request.parent_span_id.hex()) == tuple(CALLER.split("-")[1:3])


def test_a_failure_is_in_the_span(traced: Service, collector: Collector) -> None:
    job, spans = asked(traced, collector, seed=11, params='{"loras": [{"id": "no-such-lora"}]}')
    assert job["state"] == "failed"
    [outermost] = [span for _, span in spans if span.name == "job"]
    assert outermost.status.code == Status.STATUS_CODE_ERROR
    assert facts(outermost)["error.type"] == job["error"]["code"]


def test_health_and_scrapes_are_not_traced(traced: Service, collector: Collector) -> None:
    for path in ("/livez", "/metrics", "/methods"):
        traced.client.get(path).raise_for_status()
    until(lambda: collector.roots("GET /methods"), "what comes after has come")
    assert not collector.roots("GET /livez") + collector.roots("GET /metrics")


def test_a_collector_that_is_away_costs_only_spans(traced: Service, tmp_path: Path) -> None:
    gone = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1", "STYLIZE_WORKER_ID": "lonely"}
    child = traced.workers[0]
    kill(child)
    environ = {**os.environ, **traced.environ, **gone}
    with (tmp_path / "log").open("wb") as log:
        lonely = subprocess.Popen(traced.worker_command(), env=environ, stdout=log, stderr=log)
    try:
        assert traced.finished(traced.submit(quick(seed=12))["id"])["state"] == "succeeded"
        lonely.terminate()
        assert lonely.wait(PATIENCE) == 0, (tmp_path / "log").read_text()
    finally:
        lonely.kill()
        lonely.wait()
        child.start()


def test_without_the_setting_nothing_of_it_is_loaded() -> None:
    program = (
        "import sys, app.main, workers.worker.process\n"
        "import workers.contract.runtime.tracing as t, workers.contract.runtime.settings as s\n"
        "t.open_tracing('gateway', s.Settings())\n"
        "loaded = {'opentelemetry.sdk.trace', 'opentelemetry.exporter'}\n"
        "sys.exit(' '.join(loaded & sys.modules.keys()) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_without_the_extra_the_setting_is_refused(tmp_path: Path) -> None:
    program = "import sys\nsys.modules['opentelemetry.sdk'] = None\nfrom app.__main__ import main\nsys.exit(main())"
    environ = {**os.environ, "STYLIZE_TRACING": "true", "STYLIZE_MODELS": MODEL, "STYLIZE_BLOB_URL": f"file:{tmp_path}"}
    done = subprocess.run([sys.executable, "-c", program], env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "pip install 'stylize[tracing]'" in done.stderr


def test_without_the_setting_spans_are_no_ops_and_a_callers_trace_is_still_passed_on() -> None:
    open_tracing("worker", Settings())()
    assert current_traceparent() is None
    with start_span("job") as span:
        assert not span.is_recording()
        assert current_traceparent() is None
    with start_span("GET", remote_span(CALLER)) as span:
        assert not span.is_recording()
        assert current_traceparent() == CALLER


@pytest.mark.parametrize("malformed", [None, "", "00-0-0-01", "x" * 4096, CALLER.replace("b7ad6b7169203331", "0" * 16)])
def test_a_malformed_traceparent_is_no_parent(malformed: str | None) -> None:
    with start_span("GET", remote_span(malformed)):
        assert current_traceparent() is None
