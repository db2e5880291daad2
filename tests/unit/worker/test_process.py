"""A worker process does not outlive one of its threads."""

import subprocess
import sys
from pathlib import Path

from tests.support.service import PATIENCE
from workers.worker.threads.watchdog import EXIT_BROKEN

PROGRAM = """
import threading, time
from workers.worker.process import replace_process
threading.excepthook = replace_process
threading.Thread(target=lambda: {}["beat"], name="beat").start()
time.sleep(30)
"""


def test_a_thread_that_fails_takes_the_process_with_it() -> None:
    command = (sys.executable, "-c", PROGRAM)
    root = Path(__file__).parents[3]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert done.returncode == EXIT_BROKEN
    assert "the thread beat failed" in done.stderr
