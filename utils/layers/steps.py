"""A network over a recording that arrives, step by step: the result is the same in whatever blocks the samples come.

A step is a cell, (samples (1, window), count (1,), *states) -> (result, *states after it), which export.py can write as
a graph. The rest is here: which samples a step sees, and which rows of its result belong to the recording.
ascend310_infer/src/steps.cc does the same for a graph.

Letters: N samples of a recording, n any number of them.
"""
import copy
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import mindspore as ms
import numpy as np
from mindspore import Tensor, nn

S = TypeVar("S", bound="StepStream")


@dataclass(frozen=True)
class Steps:
    """How a network goes through a recording: what inputs.json has under "streaming".

    Step k sees `window` samples from sample k `samples` - `before` on and gives `rows` rows from row k `rows` - `delay`
    on. A recording of N samples has (N + length[0]) // length[1] rows. Beyond either end a window holds the mirror
    image of `mirrored` samples, then zeros; `shortest`: so many samples a recording has at least, zeros at its end.
    """

    samples: int
    window: int
    rows: int
    length: tuple[int, int]
    before: int = 0
    delay: int = 0
    mirrored: int = 0
    shortest: int = 1

    @property
    def latency(self) -> int:
        """How many samples follow a sample, at most, before the row of its time is given."""
        return self.window - self.before - 1 + self.delay * self.length[1]


class Stepper:
    """Runs a step, compiled once, over recordings in blocks of any size.

    step: the cell
    axis: the dimension of its result that is rows
    begin: the states before a recording
    """

    def __init__(self, step: nn.Cell, steps: Steps, axis: int, begin: Sequence[Tensor]):
        self.step, self.steps, self.axis, self.begin = step.set_train(False), steps, axis, tuple(begin)
        self.reset()

    def reset(self, begin: Sequence[Tensor] = ()) -> None:
        """Forgets what was pushed: another recording begins, with other states than usual where they are given."""
        self.states = tuple(begin) or self.begin
        self.held = np.zeros(0, np.float32)     # the samples from `first` on
        self.first = self.received = self.done = 0      # `done`: steps

    def push(self, samples: np.ndarray) -> Iterator[np.ndarray]:
        """The next samples (n,) of the recording -> rows of each step that they complete."""
        self.held = np.concatenate((self.held, np.asarray(samples, np.float32)))
        self.received += len(samples)
        while self._start() + self.steps.window <= self.received:
            yield self._advance(self.received, None)

    def flush(self) -> Iterator[np.ndarray]:
        """The rows up to the end of the recording, step by step; then begins another one."""
        steps = self.steps
        rows = (self.received + steps.length[0]) // steps.length[1] if self.received else 0
        total = max(self.received, steps.shortest)
        self.held = np.pad(self.held, (0, total - self.received))
        while self.done * steps.rows - steps.delay < rows:
            yield self._advance(total, rows)
        self.reset()

    def run(self, blocks: Iterable[np.ndarray], begin: Sequence[Tensor] = ()) -> Iterator[np.ndarray]:
        """Blocks (n,) of a recording -> its rows, step by step."""
        self.reset(begin)
        for block in blocks:
            yield from self.push(block)
        yield from self.flush()

    def _start(self):
        """The first sample that the next step sees."""
        return self.done * self.steps.samples - self.steps.before

    def _advance(self, total, rows):
        """One step over a recording of which `total` samples are known, and the number of its `rows` at its end."""
        steps, start = self.steps, self._start()
        window, count = Tensor(self._window(start, total)[None]), min(max(0, total - start), steps.window)
        result, *states = self.step(window, Tensor([count], ms.int32), *self.states)
        self.states = tuple(states)
        first = self.done * steps.rows - steps.delay
        self.done += 1
        keep = max(0, min(self._start(), total) - steps.mirrored - 1)   # as far back as the mirror image of the end
        self.held, self.first = self.held[max(0, keep - self.first):], max(keep, self.first)
        end = steps.rows if rows is None else min(steps.rows, rows - first)
        return np.take(result.asnumpy(), np.arange(max(0, -first), end), self.axis)

    def _window(self, start, total):
        """The samples from `start` on, with what is beyond the ends."""
        place = np.arange(start, start + self.steps.window)
        inside = (place >= -self.steps.mirrored) & (place < total + self.steps.mirrored)
        place = np.abs(place) % max(1, 2 * (total - 1))
        place = np.minimum(place, 2 * (total - 1) - place)      # back and forth, where a recording is very short
        return np.where(inside, self.held[np.where(inside, place - self.first, 0)], np.float32(0))


class StepStream:
    """What the streams of all models have in common: they go by a stepper."""

    def __init__(self, stepper: Stepper):
        self.stepper = stepper

    def another(self: S) -> S:
        """One for another recording, at the same time: what is compiled is shared, the states are not."""
        other = copy.copy(self)
        other.stepper = copy.copy(self.stepper)
        other.stepper.reset()
        return other
