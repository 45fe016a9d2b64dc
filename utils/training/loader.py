"""Batches made ahead of time by worker processes, in an order that depends on seed and epoch alone.

mindspore.dataset would do the work too; this is here because a run must resume in the middle of an epoch with
the very batch that was due, name the files that could not be read, and stop when a worker dies.
"""
import collections
import concurrent.futures
import multiprocessing
import os
import signal
from collections.abc import Callable, Generator
from concurrent.futures.process import BrokenProcessPool
from typing import Protocol, TypeVar

import numpy as np

from utils.audio.audio_file import AudioError
from utils.errors import ContentError, RunError
from utils.launching.watch import die_with

BAD_SHARE = 0.01   # a corpus with more unreadable files than this needs mending, not skipping
ATTEMPTS = 20      # files tried in place of one that cannot be read

Made = tuple[tuple[np.ndarray, ...], dict[str, str]]     # the arrays of a batch; {path: why it could not be read}
Item = TypeVar("Item")
Value = TypeVar("Value")


class DataSet(Protocol):
    """What batches are taken from: the TrainSet of a model."""

    steps: int      # batches per epoch on this rank
    files: int      # how many it reads from

    def describe(self) -> str:
        """What it is made of, in a line for the log."""
        ...

    def batch(self, epoch: int, index: int) -> Made:
        """Batch `index`, from 0, of `epoch`, from 1: always the same, whichever process makes it."""
        ...


_dataset: DataSet   # of a worker process


class Batches:
    """The batches of `dataset`, made by so many processes; 0: by this one. `with` ends them.

    The processes are forked here: before a network is made or an operator has run, which starts threads.
    """

    def __init__(self, dataset: DataSet, workers: int = 1) -> None:
        self.dataset = dataset
        self.steps = dataset.steps
        self.workers = workers
        self.bad: dict[str, str] = {}       # {path: why it could not be read}
        self.pool = None
        if workers > 0:
            # a SIGTERM waits until each worker knows what to do about it
            mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
            # fork, and at once: the list is shared, not copied, and no operator has started a thread yet
            self.pool = concurrent.futures.ProcessPoolExecutor(
                workers, multiprocessing.get_context("fork"), _start_worker, (dataset, os.getpid(), mask))
            self.pool.submit(os.getpid).result()
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)

    def __enter__(self) -> "Batches":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def epoch(self, number: int, start: int = 0) -> Generator[tuple[np.ndarray, ...], None, None]:
        """Yields the arrays of batch `start`, `start + 1`, ... of epoch `number`."""
        if self.pool is None:
            for index in range(start, self.steps):
                yield self._checked(self.dataset.batch(number, index))
            return
        pending, upcoming = collections.deque(), iter(range(start, self.steps))
        try:
            for index in upcoming:
                pending.append(self.pool.submit(_make, number, index))
                if len(pending) > 2 * self.workers:
                    yield self._checked(pending.popleft().result())
            while pending:
                yield self._checked(pending.popleft().result())
        except BrokenProcessPool:
            raise RunError("a data worker was killed (out of memory?); lower --num_workers, then --resume") from None
        finally:
            for future in pending:
                future.cancel()

    def close(self) -> None:
        """Ends the worker processes."""
        if self.pool is not None:
            self.pool.shutdown(cancel_futures=True)

    def _checked(self, made: Made) -> tuple[np.ndarray, ...]:
        arrays, bad = made
        self.bad.update(bad)
        if len(self.bad) > BAD_SHARE * self.dataset.files:
            path, reason = next(iter(self.bad.items()))
            raise ContentError(f"{len(self.bad)} of {self.dataset.files} training files cannot be used, more than "
                               f"{BAD_SHARE:.0%}; the first is {path} ({reason}); run prepare.py again")
        return arrays


def _start_worker(dataset: DataSet, parent: int, mask: set[int | signal.Signals]) -> None:
    global _dataset
    _dataset = dataset
    signal.signal(signal.SIGINT, signal.SIG_IGN)    # Ctrl-C is the main process's to handle
    signal.signal(signal.SIGTERM, signal.SIG_IGN)   # likewise: clusters send it to all processes of a job
    signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    die_with(parent)


def _make(epoch: int, index: int) -> Made:
    return _dataset.batch(epoch, index)


def any_readable(make: Callable[[Item], Value], file: Item, name: Callable[[Item], str], bad: dict[str, str],
                 another: Callable[[], Item]) -> Value:
    """make(file), or make(another()) where that file cannot be read; the reason goes into `bad` under name(file)."""
    failed = file
    for _ in range(ATTEMPTS):
        try:
            return make(file)
        except AudioError as error:
            bad[name(file)] = str(error)
            failed, file = file, another()
    raise ContentError(f"{ATTEMPTS} files in a row cannot be read, the last is {name(failed)}; check the "
                       "list of training files and the folder of its paths, such as train_path")
