"""What `lstm_model` logs, shown where the run is: it knows only the standard library's loggers."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from prefect.logging import get_run_logger


class _Forward(logging.Handler):
    """Hands records to the logger of the current run."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self._logger = get_run_logger()

    def emit(self, record: logging.LogRecord) -> None:
        self._logger.log(record.levelno, "%s", record.getMessage())


@contextmanager
def forwarded_logs(package: str) -> Iterator[None]:
    """While inside, the package's log lines appear in the run's log, in the UI too."""
    logger, handler = logging.getLogger(package), _Forward()
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
