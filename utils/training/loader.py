"""Batches made ahead of time by worker processes, in an order that depends on seed and epoch alone.

mindspore.dataset would do the work too; this is here because a run must resume in the middle of an epoch with
the very batch that was due, name the files that could not be read, and stop when a worker dies.
"""
import collections
import concurrent.futures
import ctypes
import multiprocessing
import os
import signal
from concurrent.futures.process import BrokenProcessPool

from utils.audio.audio_file import AudioError
from utils.errors import ContentError, RunError

BAD_SHARE = 0.01   # a corpus with more unreadable files than this needs mending, not skipping
GRACE = 5          # seconds that a worker goes on after SIGTERM: the main process finishes its step and saves
ATTEMPTS = 20      # files tried in place of one that cannot be read

_dataset = None    # of a worker process


class Batches:
    """Iterates over the batches of `dataset`, which offers

    steps:               batches in an epoch (of this rank)
    files:               number of files behind it
    batch(epoch, index): (tuple of arrays, {path: reason} of files that could not be read)
    """

    def __init__(self, dataset, workers=1):
        self.dataset = dataset
        self.steps = dataset.steps
        self.workers = workers
        self.bad = {}
        self.pool = None
        if workers > 0:
            # a SIGTERM waits until each worker knows what to do about it
            mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
            # fork, and at once: the list is shared, not copied, and no operator has started a thread yet
            self.pool = concurrent.futures.ProcessPoolExecutor(
                workers, multiprocessing.get_context("fork"), _start_worker, (dataset, os.getpid(), mask))
            self.pool.submit(os.getpid).result()
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)

    def epoch(self, number, start=0):
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

    def close(self):
        """Ends the worker processes."""
        if self.pool is not None:
            self.pool.shutdown(cancel_futures=True)

    def _checked(self, made):
        arrays, bad = made
        self.bad.update(bad)
        if len(self.bad) > BAD_SHARE * self.dataset.files:
            path, reason = next(iter(self.bad.items()))
            raise ContentError(f"{len(self.bad)} of {self.dataset.files} training files cannot be used, more than "
                               f"{BAD_SHARE:.0%}; the first is {path} ({reason}); run prepare.py again")
        return arrays


def _start_worker(dataset, parent, mask):
    global _dataset
    _dataset = dataset
    signal.signal(signal.SIGINT, signal.SIG_IGN)    # Ctrl-C is the main process's to handle
    signal.signal(signal.SIGTERM, lambda *_: signal.alarm(GRACE))   # clusters send it to all processes of a job
    signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)      # PR_SET_PDEATHSIG: no orphans when the parent is killed
    if os.getppid() != parent:
        os._exit(1)


def _make(epoch, index):
    return _dataset.batch(epoch, index)


def any_readable(make, file, name, bad, another):
    """make(file), or make(another()) where that file cannot be read; the reason goes into `bad` under name(file)."""
    for _ in range(ATTEMPTS):
        try:
            return make(file)
        except AudioError as error:
            bad[name(file)] = str(error)
            failed, file = file, another()
    raise ContentError(f"{ATTEMPTS} files in a row cannot be read, the last is {name(failed)}; check train_path")
