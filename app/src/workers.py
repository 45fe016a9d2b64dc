"""Processes that compute, one job at a time each, for MindSpore takes one thread.

There are two of them: recordings may take minutes, and whoever speaks shall not wait for them.
"""
import asyncio
import multiprocessing
from collections.abc import Callable
from concurrent.futures import BrokenExecutor, Executor, ProcessPoolExecutor
from typing import Any

from app.src.models import Checkpoints, begin
from utils.errors import RunError


class Worker:
    """Runs functions one after the other, in the order in which they were asked for.

    A job whose caller is cancelled while it waits never begins. One that runs goes on to its end, and only then does
    the next one begin. executor: makes what runs them, again where it has broken.
    """

    def __init__(self, executor: Callable[[], Executor]):
        self.make, self.executor, self.turn = executor, executor(), asyncio.Lock()

    async def run(self, function: Callable[..., Any], *args: Any) -> Any:
        """function(*args). RunError where the process was killed; the next call finds another one."""
        await self.turn.acquire()
        try:
            job = asyncio.wrap_future(self.executor.submit(function, *args))
        except BaseException as error:
            self.turn.release()
            if isinstance(error, BrokenExecutor):
                self._renew()
                raise _lost() from None
            raise
        job.add_done_callback(self._done)
        try:
            return await asyncio.shield(job)
        except BrokenExecutor:
            raise _lost() from None

    def _done(self, job):
        if not job.cancelled() and isinstance(job.exception(), BrokenExecutor):
            self._renew()
        self.turn.release()

    def _renew(self):
        self.executor.shutdown(wait=False)
        self.executor = self.make()


def _lost():
    return RunError("the process that computes was killed (out of memory?); send it again")


def process(checkpoints: Checkpoints) -> Callable[[], Executor]:
    """What makes an executor of one process that has `begin`-ed."""
    # spawned: MindSpore does not survive a fork
    return lambda: ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), begin, (checkpoints,))
