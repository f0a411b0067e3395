"""Do long work in a thread beside this one, so that a signal ends it between two steps."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from contextvars import copy_context
from threading import Event
from typing import TypeVar

Result = TypeVar("Result")

LISTEN_SECONDS = 1.0


def run_interruptibly(work: Callable[[], Result], stop: Event) -> Result:
    """Do the work in a thread beside this one, which so hears signals and timeouts at once and sets `stop` for it.

    An exception that a signal's handler raises would end a step half-way; here it waits until the work has kept where
    it is. The handler itself stays: Prefect ends a cancelled run gracefully only while that of SIGTERM is its own.
    """
    with ThreadPoolExecutor(1, thread_name_prefix="training") as pool:
        pool.submit(int).result()  # the thread is there: an exception in its start would leave it behind
        try:
            future = pool.submit(copy_context().run, work)
            while not wait([future], timeout=LISTEN_SECONDS).done:
                pass
            return future.result()
        finally:
            stop.set()
