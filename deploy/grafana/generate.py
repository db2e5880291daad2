"""`python -m deploy.grafana.generate --write`: write the Grafana dashboard from the rows below. Needs extra `dev`."""

import argparse
import sys
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from string import ascii_uppercase

from grafana_foundation_sdk.builders import timeseries
from grafana_foundation_sdk.builders.common import VizLegendOptions, VizTooltipOptions
from grafana_foundation_sdk.builders.dashboard import Dashboard, Row
from grafana_foundation_sdk.builders.prometheus import Dataquery
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.common import LegendDisplayMode, LegendPlacement, TooltipDisplayMode
from grafana_foundation_sdk.models.dashboard import DashboardCursorSync, DataSourceRef

FILE = Path(__file__).parent / "dashboards" / "stylize.json"
SOURCE = DataSourceRef(type_val="prometheus", uid="prometheus")
RATE = "[$__rate_interval]"
LEGEND = VizLegendOptions().show_legend(True).display_mode(LegendDisplayMode.LIST).placement(LegendPlacement.BOTTOM)
PER_ROW = 3
WIDTH, HEIGHT = 24 // PER_ROW, 8


@dataclass(frozen=True)
class Panel:
    """One graph: its lines are pairs of a legend and a PromQL expression."""

    title: str
    unit: str
    lines: tuple[tuple[str, str], ...]


def quantiles(metric: str, by: str) -> tuple[tuple[str, str], ...]:
    """Return the median and the 95th percentile of a histogram by one label."""
    return tuple(
        (
            f"p{quantile:.0%} {{{{{by}}}}}".replace("%", ""),
            f"histogram_quantile({quantile}, sum by (le, {by}) (rate({metric}_bucket{RATE})))",
        )
        for quantile in (0.5, 0.95)
    )


def told(metric: str, by: str) -> str:
    """Return what all gateways tell alike, once."""
    return f"max by ({by}) ({metric})"


FINISHED = f"max by (method, state, reason) (rate(stylize_jobs_finished_total{RATE}))"
FAILED = f'max by (method, state, reason) (rate(stylize_jobs_finished_total{{state="failed"}}{RATE}))'
HITS = f'sum by (method) (rate(stylize_style_cache_requests_total{{result="hit"}}{RATE}))'
ASKED = f"sum by (method) (rate(stylize_style_cache_requests_total{RATE}))"

ROWS: tuple[tuple[str, tuple[Panel, ...]], ...] = (
    (
        "Queue",
        (
            Panel(
                "Jobs waiting", "short", (("{{queue}} {{priority}}", told("stylize_jobs_queued", "queue, priority")),)
            ),
            Panel("Age of the oldest", "s", (("{{queue}}", told("stylize_queue_oldest_age_seconds", "queue")),)),
            Panel("Time in the queue", "s", quantiles("stylize_queue_wait_seconds", "method")),
            Panel("Jobs running", "short", (("{{method}}", told("stylize_jobs_running", "method")),)),
            Panel("Workers", "short", (("{{state}}", told("stylize_workers", "state")),)),
            Panel("Promises off by", "s", quantiles("stylize_eta_error_seconds", "job")),
        ),
    ),
    (
        "Jobs by method",
        (
            Panel(
                "Accepted", "reqps", (("{{method}}", f"sum by (method) (rate(stylize_jobs_submitted_total{RATE}))"),)
            ),
            Panel("Finished", "reqps", (("{{method}} {{state}}", f"sum by (method, state) ({FINISHED})"),)),
            Panel("From acceptance to publication", "s", quantiles("stylize_job_duration_seconds", "method")),
        ),
    ),
    (
        "Where the time goes",
        (
            Panel(
                "Stages, mean",
                "s",
                (
                    (
                        "{{stage}}",
                        f"sum by (stage) (rate(stylize_stage_duration_seconds_sum{RATE}))"
                        f" / sum by (stage) (rate(stylize_stage_duration_seconds_count{RATE}))",
                    ),
                ),
            ),
            Panel("One denoising step", "s", quantiles("stylize_denoise_step_seconds", "resolution")),
            Panel("Pictures in a batch", "short", quantiles("stylize_batch_size", "method")),
        ),
    ),
    (
        "GPU",
        (
            Panel(
                "Device held",
                "percentunit",
                (("{{instance}}", f"sum by (instance) (rate(stylize_gpu_seconds_total{RATE}))"),),
            ),
            Panel("Memory by torch", "bytes", (("{{instance}} {{kind}}", "stylize_gpu_memory_bytes"),)),
            Panel(
                "Models",
                "short",
                (
                    ("resident on {{instance}}", "stylize_models_resident"),
                    (
                        "loads per minute of {{model}}",
                        f"60 * sum by (model) (rate(stylize_model_load_seconds_count{RATE}))",
                    ),
                ),
            ),
            Panel("Utilisation (DCGM)", "percent", (("GPU {{gpu}}", "DCGM_FI_DEV_GPU_UTIL"),)),
            Panel("Power (DCGM)", "watt", (("GPU {{gpu}}", "DCGM_FI_DEV_POWER_USAGE"),)),
            Panel("Temperature (DCGM)", "celsius", (("GPU {{gpu}}", "DCGM_FI_DEV_GPU_TEMP"),)),
        ),
    ),
    (
        "Style cache",
        (
            Panel("Styles found", "percentunit", (("{{method}}", f"{HITS} / {ASKED}"),)),
            Panel("Held", "bytes", (("{{instance}} {{tier}}", "stylize_style_cache_bytes"),)),
        ),
    ),
    (
        "Errors",
        (
            Panel("Failed jobs", "reqps", (("{{method}} {{reason}}", FAILED),)),
            Panel(
                "Lost workers, repeated jobs, memory, records, models",
                "short",
                (
                    ("workers lost", f"max(increase(stylize_worker_lost_total{RATE}))"),
                    ("jobs given again", f"max(increase(stylize_redeliveries_total{RATE}))"),
                    ("out of memory on {{instance}}", f"increase(stylize_oom_total{RATE})"),
                    ("unreadable {{kind}}", f"max by (kind) (increase(stylize_unreadable_records_total{RATE}))"),
                    ("{{model}} broken on {{instance}}", "stylize_model_broken"),
                ),
            ),
            Panel(
                "Webhooks",
                "reqps",
                (("{{outcome}}", f"sum by (outcome) (rate(stylize_webhook_deliveries_total{RATE}))"),),
            ),
        ),
    ),
    (
        "Gateway and stores",
        (
            Panel("Answers", "s", quantiles("http_server_request_duration_seconds", "route")),
            Panel(
                "Statuses",
                "reqps",
                (("{{status}}", f"sum by (status) (rate(http_server_requests_total{RATE}))"),),
            ),
            Panel(
                "Redis and disk",
                "bytes",
                (
                    ("Redis {{kind}}", told("stylize_redis_memory_bytes", "kind")),
                    ("disk {{kind}}", told("stylize_blob_disk_bytes", "kind")),
                ),
            ),
            Panel("Versions", "short", (("{{job}} {{version}} {{torch}} {{cuda}}", "stylize_build_info"),)),
        ),
    ),
)


def dashboard() -> Dashboard:
    """Return the dashboard; Grafana's own builders place its panels and know its schema."""
    board = (
        Dashboard("Stylize")
        .uid("stylize")
        .tags(["stylize"])
        .readonly()
        .tooltip(DashboardCursorSync.CROSSHAIR)
        .refresh("30s")
        .time("now-3h", "now")
        .timezone("browser")
    )
    numbers = count(1)
    for title, row in ROWS:
        board.with_row(Row(title).id(next(numbers)))
        for panel in row:
            board.with_panel(graph(panel).id(next(numbers)))
    return board


def graph(panel: Panel) -> timeseries.Panel:
    """Return one panel."""
    shown = (
        timeseries.Panel()
        .title(panel.title)
        .datasource(SOURCE)
        .height(HEIGHT)
        .span(WIDTH)
        .unit(panel.unit)
        .min(0)
        .fill_opacity(10)
        .legend(LEGEND)
        .tooltip(VizTooltipOptions().mode(TooltipDisplayMode.MULTI))
    )
    for ref_id, (legend, expression) in zip(ascii_uppercase, panel.lines, strict=False):
        shown.with_target(Dataquery().expr(expression).legend_format(legend).ref_id(ref_id).datasource(SOURCE))
    return shown


def text() -> str:
    """Return the file."""
    return JSONEncoder(indent=1).encode(dashboard().build()) + "\n"


def main() -> int:
    """Print the dashboard, or write it."""
    parser = argparse.ArgumentParser(prog="python -m deploy.grafana.generate", description=__doc__)
    parser.add_argument("--write", action="store_true")
    if parser.parse_args().write:
        FILE.write_text(text(), encoding="utf-8")
    else:
        sys.stdout.write(text())
    return 0


if __name__ == "__main__":
    sys.exit(main())
