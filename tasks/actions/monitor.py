"""Compare issued forecasts with what happened, show it, and start a retraining after drift."""

from __future__ import annotations

import shlex
from itertools import count
from typing import Any

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas import FlowRun, StateType
from prefect.deployments import run_deployment
from prefect.exceptions import ObjectNotFound
from prefect.logging import get_run_logger

from lstm_model.contracts.artifact import Artifact
from lstm_model.contracts.monitored import Monitored
from lstm_model.contracts.settings import PipelineConfig
from lstm_model.lifecycle.drift import RECORD, is_known, look_for_drift
from lstm_model.reporting.figures import to_png
from lstm_model.reporting.monitor_page import render_monitor
from lstm_model.reporting.monitor_plots import plot_drift
from lstm_model.storage.notes import write_note
from lstm_model.storage.store import Store
from tasks.runtime.logs import forwarded_logs
from tasks.runtime.notify import tell
from tasks.runtime.prefect_ui import show_markdown

PLOT = "monitor.png"
ATTEMPTS = 3
"""Runs for one alarm that may fail. One that was cancelled, as happens while another is under way, does not count."""
ENDED_BADLY = {
    StateType.FAILED: f", as the {ATTEMPTS - 1} before it; no other one is started for this evidence",
    StateType.CRASHED: "; `serve`, or the watch where workers run it, has it go on",
}


@task(name="watch forecasts", task_run_name="watch forecasts", cache_policy=NO_CACHE)
def watch_forecasts(series: Artifact, config: PipelineConfig, store: Store) -> Monitored:
    """Compare the ledger with the newest actuals, and draw it: monitor.png at the top of the store."""
    with forwarded_logs("lstm_model"):
        look = look_for_drift(series, config, store)
    if look.check is None or look.usual is None or look.check.periods.empty:
        return look.found
    store.backend.write(PLOT, to_png(plot_drift(look.check, look.usual)))
    return look.found.model_copy(update={"plot": store.backend.shown(PLOT)})


@task(name="respond", task_run_name="respond", cache_policy=NO_CACHE)
def respond(seen: Monitored, config: PipelineConfig, store: Store) -> Monitored:
    """On drift start the retraining, once for each evidence, and tell; the record and the artifact in the UI last.

    Args:
        seen: from `watch_forecasts`.
        config: whether to retrain, and whom to tell.
        store: of the problem.
    """
    if seen.status == "drift":
        seen = seen.model_copy(update={"retraining": _retrain(seen, config, store)})
        if not is_known(seen, store):
            tell(config.notify, f"{seen.name}: drift", f"{seen.finding}\n\n{seen.retraining}".rstrip())
    write_note(store.backend, RECORD, seen)
    page = render_monitor(seen, store.backend.read(PLOT) if seen.plot else None)
    show_markdown("monitor", seen.name, page, description=seen.finding)
    return seen


def _retrain(seen: Monitored, config: PipelineConfig, store: Store) -> str:
    """Start the deployment that retrains; where there is none, the command that does it."""
    reason = f"drift: {seen.finding}"
    words = ["--config", store.backend.shown("pipeline.yaml"), "--store", store.backend.parent, "--reason", "drift"]
    command = f"python -m flows.retrain {shlex.join(words)}"
    if not config.monitoring.retrain:
        return f"not started, as monitoring.retrain is off: {command}"
    try:
        run = _start(f"retrain/{config.name}", reason, f"drift-{config.name}-{seen.champion}-{seen.evidence}")
    except ObjectNotFound:
        get_run_logger().warning("there is no deployment retrain/%s; to retrain: %s", config.name, command)
        return command
    assert run.state is not None
    kind = run.state.type
    text = f"run {run.name} of retrain/{config.name} is {kind.value.capitalize()}{ENDED_BADLY.get(kind, '')}"
    get_run_logger().warning("retraining: %s", text)
    return text


def _start(deployment: str, reason: str, key: str) -> FlowRun:
    """The run for this key: the one that was started for it before, unless that failed or was cancelled.

    One that was cancelled before it began had no place, since another was under way; one that had begun was cancelled
    by a person. (Prefect writes a start time on the former as well, but counts no run.)
    """
    num_failed = 0
    for number in count():
        run: Any = run_deployment(
            deployment,
            parameters={"reason": reason},
            timeout=0,
            idempotency_key=f"{key}-{number}",
            as_subflow=False,
        )
        num_failed += run.state.is_failed() or (run.state.is_cancelled() and run.run_count > 0)
        if num_failed == ATTEMPTS or not (run.state.is_failed() or run.state.is_cancelled()):
            break
    started: FlowRun = run
    return started
