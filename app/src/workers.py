"""Processes that compute, one job at a time each, for MindSpore takes one thread.

There are two of them: recordings may take minutes, and whoever speaks shall not wait for them.
"""
import asyncio
import multiprocessing
from collections.abc import Callable
from concurrent.futures import BrokenExecutor, Executor, ProcessPoolExecutor
from typing import Any

from app.src.models import Checkpoints, initialize
from utils.errors import RunError


class Worker:
    """Runs functions one after the other, in the order in which they were asked for.

    A job whose caller is cancelled while it waits never begins. One that runs goes on to its end, and only then does
    the next one begin. make_executor: makes what runs them, also the replacement of one that has broken.
    """

    def __init__(self, make_executor: Callable[[], Executor]):
        self.make_executor, self.executor, self.lock = make_executor, make_executor(), asyncio.Lock()

    async def run(self, function: Callable[..., Any], *args: Any) -> Any:
        """function(*args). RunError where the process was killed; the next call finds another one."""
        await self.lock.acquire()
        try:
            job = asyncio.wrap_future(self.executor.submit(function, *args))
        except BaseException as error:
            self.lock.release()
            if isinstance(error, BrokenExecutor):
                self._replace_executor()
                raise _killed() from None
            raise
        job.add_done_callback(self._release)
        try:
            return await asyncio.shield(job)
        except BrokenExecutor:
            raise _killed() from None

    def _release(self, job):
        if not job.cancelled() and isinstance(job.exception(), BrokenExecutor):
            self._replace_executor()
        self.lock.release()

    def _replace_executor(self):
        self.executor.shutdown(wait=False)
        self.executor = self.make_executor()


def _killed():
    return RunError("the process that computes was killed (out of memory?); send it again")


def executor_factory(checkpoints: Checkpoints) -> Callable[[], Executor]:
    """What makes an executor of one process that has called `initialize`."""
    # spawned: MindSpore does not survive a fork
    return lambda: ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), initialize, (checkpoints,))
