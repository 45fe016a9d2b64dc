"""Performance mode: how many utterances a second a run trains on once its graphs are compiled."""
import time
from collections.abc import Callable

from utils.errors import SettingError

WARM_UP = 10    # first steps, in which caches, memory pools and the workers' queue come to their usual state


class StepClock:
    """Times `steps` steps of a run; 0: as many as come, without a report. `now()`: seconds.

    Neither the first WARM_UP steps count nor later ones in which a graph is compiled, one for every shape of a batch.
    What happens between steps (validation, checkpoints) is no part of the time, waiting for the next batch is.
    """

    def __init__(self, steps: int, now: Callable[[], float] = time.monotonic) -> None:
        self.steps, self.now, self.last = steps, now, now()
        self.taken = self.counted = self.utterances = 0
        self.seconds = 0.0

    def start(self) -> None:
        """A step begins here, instead of where the last one ended."""
        self.last = self.now()

    def stop(self, utterances: int, compiled: bool) -> None:
        """A step ends, of `utterances` on all devices; `compiled`: on one of them a graph was compiled."""
        self.taken += 1
        before, self.last = self.last, self.now()
        if self.taken > WARM_UP and not compiled:
            self.counted += 1
            self.utterances += utterances
            self.seconds += self.last - before

    @property
    def over(self) -> bool:
        """Whether all steps are taken."""
        return 0 < self.steps <= self.taken

    def report(self) -> str:
        """One line with utterances per second of the steps that count; SettingError where there is none."""
        compiled = self.taken - WARM_UP - self.counted
        left_out = f"the first {WARM_UP}" + (f" and {compiled} more, which compiled," if compiled else "")
        if not self.counted:
            raise SettingError(f"max_steps: found {self.steps}, {left_out} are left out of FPS, so none is left; take "
                               "more")
        return f"FPS: {self.utterances / self.seconds:.2f} ({self.taken} steps, {left_out} left out)"
