"""`python -m deploy.compose.healthcheck URL [METRIC]`: exit 0 when the address answers and the metric is not zero."""

import argparse
import sys
import urllib.request

from prometheus_client.parser import text_string_to_metric_families

SECONDS = 4.0


def healthy(url: str, metric: str | None) -> bool:
    """Return whether the address answers with 2xx, and a sample of the metric, if one is named, is above zero."""
    try:
        with urllib.request.urlopen(url, timeout=SECONDS) as answer:  # noqa: S310 - the operator's own address  # nosec B310
            text = answer.read().decode()
    except OSError as fault:
        print(f"{url}: {fault}", file=sys.stderr)
        return False
    if metric is None:
        return True
    samples = (sample for family in text_string_to_metric_families(text) for sample in family.samples)
    return any(sample.name == metric and sample.value > 0 for sample in samples)


def main() -> int:
    """Check once; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m deploy.compose.healthcheck", description=__doc__)
    parser.add_argument("url")
    parser.add_argument("metric", nargs="?")
    arguments = parser.parse_args()
    return 0 if healthy(arguments.url, arguments.metric) else 1


if __name__ == "__main__":
    sys.exit(main())
