"""SIGTERM and SIGINT, which end a run after the step or the validation that it is in."""
import signal
from types import FrameType


class Signals:
    """Within `with`, `received` is the number of the signal that has arrived, or 0. A second one acts at once."""

    def __init__(self) -> None:
        self.received = 0
        self.previous = {}      # number of a signal: what handled it before

    def __enter__(self) -> "Signals":
        for number in (signal.SIGTERM, signal.SIGINT):
            self.previous[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self.previous.items():
            signal.signal(number, handler)

    def _note(self, number: int, _frame: FrameType | None) -> None:
        self.received = number
        signal.signal(number, self.previous[number])
