"""What a person is told when a run does not finish."""

from __future__ import annotations

from typing import Any

from prefect import Flow
from prefect.client.schemas import FlowRun, State
from prefect.logging import get_logger


def tell_failure(flow: Flow[..., Any], flow_run: FlowRun, state: State[Any]) -> None:
    """After an error: nothing was replaced, and the finished stages are kept."""
    get_logger(__name__).error(
        "%s failed: %s. The last good report and model are untouched; once the cause is mended, a new run takes the "
        "finished stages from the cache",
        flow_run.name,
        state.message,
    )


def tell_crash(flow: Flow[..., Any], flow_run: FlowRun, state: State[Any]) -> None:
    """After the process was stopped or killed."""
    get_logger(__name__).error(
        "%s was stopped before its end: %s. Run it again; the finished stages come from the cache",
        flow_run.name,
        state.message,
    )
