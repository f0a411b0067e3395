"""Tell a person that a run did not finish: in the log, and through the notification block that its config names."""

from __future__ import annotations

from typing import Any

from prefect import Flow
from prefect.client.schemas import FlowRun, State
from prefect.logging import get_logger
from prefect.utilities.urls import url_for

from tasks.runtime.notify import tell

FAILED = (
    "The artifact registry-NAME says which model forecasts; once the cause is mended, a new run takes the finished "
    "stages from the cache"
)
STOPPED = (
    "A run of a deployment is started again by itself; any other, start again: finished stages come from the cache"
)


def tell_failure(flow: Flow[..., Any], flow_run: FlowRun, state: State[Any]) -> None:
    """Report an error: nothing is half-written, and the finished stages are kept."""
    get_logger(__name__).error("%s failed: %s. %s", flow_run.name, state.message, FAILED)
    message = str(state.message).removeprefix("Flow run encountered an exception: ")
    notify_failure(flow.name, flow_run, f"failed: {message}", FAILED)


def tell_crash(flow: Flow[..., Any], flow_run: FlowRun, state: State[Any]) -> None:
    """Report that the process was stopped or killed."""
    get_logger(__name__).error("%s was stopped before its end: %s. %s", flow_run.name, state.message, STOPPED)
    notify_failure(flow.name, flow_run, f"was stopped before its end: {state.message}", STOPPED)


def notify_failure(flow_name: str, flow_run: FlowRun, event: str, advice: str) -> None:
    """Notify the block that the config or the parameter `notify` of a run names; nobody if neither does.

    Args:
        flow_name: such as retrain.
        flow_run: its parameters are read; its page is linked.
        event: the event, as the end of a sentence.
        advice: its meaning, and the action to take.
    """
    config = flow_run.parameters.get("config")
    settings = config if isinstance(config, dict) else {}
    name = flow_run.parameters.get("name") or settings.get("name") or "?"
    headline = event.splitlines()[0][:120]
    link = url_for(flow_run) or ""
    tell(
        flow_run.parameters.get("notify") or settings.get("notify"),
        f"{flow_name}/{name} {headline}",
        f"{flow_name}/{name}, run {flow_run.name}, {event}\n\n{advice}.\n{link}".rstrip(),
    )


ENDINGS: dict[str, Any] = {
    "on_failure": [tell_failure],
    "on_crashed": [tell_crash],
    # Prefect writes the exception of a flow that fails to its storage, by default as a pickle; of what a flow returns
    # nothing is needed there.
    "result_serializer": "json",
    "persist_result": False,
}
"""Options of every flow."""
