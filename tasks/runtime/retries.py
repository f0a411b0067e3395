"""Tell failures that are worth another try (network, disk) from those that are not (data, code)."""

from __future__ import annotations

from typing import Any

from prefect import Task
from prefect.client.schemas import State, TaskRun
from prefect.tasks import exponential_backoff

PASSING = (ConnectionError, TimeoutError, OSError)
LASTING = (FileNotFoundError, PermissionError, IsADirectoryError, NotADirectoryError)


def is_passing(task: Task[..., Any], task_run: TaskRun, state: State[Any]) -> bool:
    """Whether the failure is one that time may heal; a full disk is an OSError too and may."""
    try:
        state.result()
    except LASTING:
        return False
    except PASSING:
        return True
    except Exception as error:
        return _is_of_a_connection(error)
    return False


def _is_of_a_connection(error: Exception) -> bool:
    """Whether a database said it; imported here, since most runs neither fail nor have a database."""
    from sqlalchemy.exc import InterfaceError, OperationalError

    return isinstance(error, InterfaceError | OperationalError)


IO_RETRIES: dict[str, Any] = {
    "retries": 3,
    "retry_delay_seconds": exponential_backoff(backoff_factor=2),
    "retry_jitter_factor": 0.5,
    "retry_condition_fn": is_passing,
    "timeout_seconds": 3600,
}
