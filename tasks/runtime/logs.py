"""Forward the log of `lstm_model`, which knows only the standard library's loggers, to the log of a Prefect run."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from prefect.exceptions import MissingContextError
from prefect.logging import get_logger, get_run_logger

from lstm_model.contracts.findings import escape_unseen


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
