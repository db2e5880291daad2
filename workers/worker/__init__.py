"""One worker process beside one device: claim, run, publish, report."""
