"""The loop that all threads of the worker share."""

import threading

from workers.worker.threads.periodic import PeriodicThread


class Counting(PeriodicThread):
    """Ends itself in its third turn."""

    def __init__(self, period: float) -> None:
        super().__init__("counting", period)
        self.calls: list[str] = []
        self.first = threading.Event()

    def run_once(self) -> None:
        self.calls.append("run")
        self.first.set()
        if len(self.calls) == 3:
            self.end()

    def finish(self) -> None:
        self.calls.append("finish")


def test_it_repeats_its_work_until_it_is_ended_and_finishes_once() -> None:
    thread = Counting(0.001)
    thread.start()
    thread.join(60)
    assert thread.calls == ["run", "run", "run", "finish"]
    assert thread.name == "counting"
    assert thread.daemon


def test_the_first_turn_waits_for_nothing_and_an_end_is_not_held_up_by_the_period() -> None:
    thread = Counting(3600)
    thread.start()
    assert thread.first.wait(60)
    thread.end()
    thread.join(60)
    assert thread.calls == ["run", "finish"]
