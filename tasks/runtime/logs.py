"""Forward the log of `lstm_model`, which knows only the standard library's loggers, to the log of a Prefect run.

Of what Prefect itself logs, hide what nobody needs.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
from prefect.exceptions import MissingContextError
from prefect.logging import get_logger, get_run_logger
from prefect.logging.handlers import PrefectConsoleHandler
from prefect.settings import PREFECT_API_URL
from websockets.exceptions import WebSocketException

from lstm_model.contracts.findings import escape_unseen
from tasks.runtime.prefect_server import is_healthy

RUN_LOGGERS = ("prefect.flow_runs", "prefect.task_runs")
LOST = (httpx.TransportError, WebSocketException, ConnectionError)


def find_logger() -> Any:
    """Return the logger of the current run; outside of any, Prefect's own."""
    try:
        return get_run_logger()
    except MissingContextError:
        return get_logger(__name__)


class _Forward(logging.Handler):
    """Hands records to the logger of the current run; a name in one cannot begin a line of its own."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self._logger = find_logger()

    def emit(self, record: logging.LogRecord) -> None:
        self._logger.log(record.levelno, "%s", escape_unseen(record.getMessage()))


def _is_no_timeout_warning(record: logging.LogRecord) -> bool:
    return not str(record.msg).startswith("Timeout of %s seconds configured for this task")


@contextmanager
def quiet_timeouts() -> Iterator[None]:
    """While inside, Prefect does not warn in the log of each task in a thread that nothing there can be interrupted.

    The timeouts themselves stay: they end a loop, though not a read that hangs.
    """
    logger = logging.getLogger("prefect.task_runs")
    logger.addFilter(_is_no_timeout_warning)
    try:
        yield
    finally:
        logger.removeFilter(_is_no_timeout_warning)


def hide_lost_connections() -> None:
    """Have Prefect's own threads write no tracebacks on the console about a server that is away.

    Each writes fifty lines within milliseconds. `serve` says in one line that the server is away; what a run or a stage
    logs is shown always.
    """
    for handler in logging.getLogger().handlers:
        if isinstance(handler, PrefectConsoleHandler):
            handler.addFilter(_is_no_lost_connection)


def _is_no_lost_connection(record: logging.LogRecord) -> bool:
    error = record.exc_info[1] if record.exc_info and not record.name.startswith(RUN_LOGGERS) else None
    while error is not None:
        # asyncio's error of several addresses, such as those of localhost, has no number
        if isinstance(error, LOST) or (isinstance(error, OSError) and error.errno is None):
            return is_healthy(str(PREFECT_API_URL.value()), timeout_seconds=1)
        error = error.__cause__ or error.__context__
    return True


@contextmanager
def forwarded_logs(package: str) -> Iterator[None]:
    """While inside, the package's log lines appear in the run's log, in the UI too.

    They appear there only: Prefect's handler at the root would show each of them a second time.
    """
    logger, handler = logging.getLogger(package), _Forward()
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False
    try:
        yield
    finally:
        logger.propagate = True
        logger.removeHandler(handler)
        logger.setLevel(level)
