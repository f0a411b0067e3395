"""Run tasks side by side in processes: torch has one random state and one thread count for each process."""

from __future__ import annotations

import multiprocessing
import os
import threading
import time
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.task_runners import ProcessPoolTaskRunner, TaskRunner

MOST = 4
"""Each process holds torch and the data of its fold."""
LOOK_SECONDS = 1.0
GRACE_SECONDS = 10.0


def side_by_side() -> TaskRunner[Any]:
    """A task runner for trainings at the same time; in one process they would disturb each other's random numbers."""
    return ProcessPoolTaskRunner(max_workers=min(MOST, os.cpu_count() or 1), initializer=end_with_parent)


def one_server() -> AbstractContextManager[Any]:
    """Without a running server, the processes started inside use the flow's temporary one; else each starts its own."""
    if PREFECT_API_URL.value():
        return nullcontext()
    from prefect.server.api.server import SubprocessASGIServer

    return temporary_settings({PREFECT_API_URL: SubprocessASGIServer().api_url})


def end_workers() -> None:
    """End the processes of this flow: after Ctrl-C, Prefect would wait until their trainings are through.

    SIGTERM first, so that a training can keep where it is.
    """
    workers = multiprocessing.active_children()
    for worker in workers:
        worker.terminate()
    deadline = time.monotonic() + GRACE_SECONDS
    for worker in workers:
        worker.join(max(0.0, deadline - time.monotonic()))
        worker.kill()


def end_with_parent() -> None:
    """Have this process end when the flow's process is gone: a killed flow would leave it waiting for ever."""
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(LOOK_SECONDS)
        os._exit(1)

    threading.Thread(target=watch, daemon=True, name="end with parent").start()
