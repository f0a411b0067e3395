"""Compare issued forecasts with what happened, show it, and start a retraining after drift."""

from __future__ import annotations

import base64
import json
import shlex
from collections.abc import Iterator
from itertools import count
from typing import Any, Literal

import numpy as np
import pandas as pd
from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas import FlowRun, StateType
from prefect.deployments import run_deployment
from prefect.exceptions import ObjectNotFound
from prefect.logging import get_run_logger
from pydantic import BaseModel

from lstm_model.contracts.artifact import Artifact, version_of
from lstm_model.contracts.bundle_card import BundleCard, read_bundle_card
from lstm_model.contracts.envelope import BacktestEnvelope, Envelope
from lstm_model.contracts.forecast_columns import find_coverage, show_level
from lstm_model.contracts.settings import PipelineConfig, Plan
from lstm_model.evaluation.backtest import is_same_problem
from lstm_model.lifecycle.ledger import Ledger
from lstm_model.lifecycle.monitor import (
    LOOK_BACK,
    DriftCheck,
    Piece,
    Status,
    better_known,
    first_cutoff,
    origin_of,
    watch,
)
from lstm_model.lifecycle.registry import Registry
from lstm_model.reporting.figures import to_png
from lstm_model.reporting.markdown import escape_markdown
from lstm_model.reporting.monitor_plots import plot_drift
from lstm_model.reporting.report import format_number
from lstm_model.series.series_table import find_last_observed, read_first_id
from lstm_model.storage.store import Store
from lstm_model.timeline.time_axis import advance
from tasks.runtime.notify import tell
from tasks.runtime.prefect_ui import show_markdown
from tasks.stages.stage_outputs import ENVELOPE, TABLE, folders_of, scales_of, series_of

RECORD, PLOT = "monitor.json", "monitor.png"
SHOWN = 30
RECOVERY_PERIODS = 16
"""So long after a retraining because of drift, errors must come back to what they were before; then its own count."""
ATTEMPTS = 3
"""Runs for one alarm that may fail. One that was cancelled, as happens while another is under way, does not count."""
ENDED_BADLY = {
    StateType.FAILED: f", as the {ATTEMPTS - 1} before it; no other one is started for this evidence",
    StateType.CRASHED: "; `serve`, or the watch where workers run it, has it go on",
}


class Monitored(BaseModel):
    """What the monitor found, and what it did; `summary` is what the command line prints."""

    name: str
    status: Status | Literal["no champion", "no envelope"]
    finding: str
    """One or two plain sentences."""
    champion: str | None = None
    evidence: str | None = None
    """End of the period that raised the latest alarm."""
    compared_with: str = ""
    num_periods: int = 0
    """Of the present champion."""
    thresholds: dict[str, float] = {}
    periods: list[dict[str, Any]] = []
    retraining: str = ""
    """What was started, or the command that starts it."""
    plot: str | None = None

    def summary(self) -> str:
        lines = ["", f"{self.name}: {self.status}", self.finding]
        lines += [f"compared  with {self.compared_with}"] if self.compared_with else []
        lines += [f"retrain   {self.retraining}"] if self.retraining else []
        return "\n".join([*lines, *([f"plot      {self.plot}"] if self.plot else [])])


@task(name="watch forecasts", task_run_name="watch forecasts", cache_policy=NO_CACHE)
def watch_forecasts(series: Artifact, config: PipelineConfig, store: Store) -> Monitored:
    """Compare the ledger with the newest actuals, and draw it: monitor.png at the top of the store."""
    champion = Registry(store).get("champion")
    if champion is None:
        return Monitored(name=config.name, status="no champion", finding="There is no champion yet; run retrain first.")
    card = read_bundle_card(store.path(champion))
    if card.envelope is None:
        text = "The champion had no test, so nothing says what its errors should be; bring a longer history."
        return Monitored(name=config.name, status="no envelope", finding=text, champion=version_of(champion))
    end, issued = _end(series, store), Ledger(store).cutoffs()
    usual, basis = _usual(card, store, issued[issued["model_version"] == version_of(champion)], end)
    since, origin = _span(usual, version_of(champion), end, issued)
    if len(issued):  # an empty ledger does not know what its moments are
        issued = issued[issued["cutoff"] >= since]
    found = watch(
        _pieces(series, champion, store, since=min([end, *issued["cutoff"].to_numpy()])),
        issued=issued,
        end=end,
        usual=usual,
        champion=version_of(champion),
        origin=origin,
        periods_per_false_alarm=config.monitoring.periods_per_false_alarm,
    )
    get_run_logger().log(30 if found.alarm else 20, "%s", found.summary)
    return Monitored(
        name=config.name,
        status=found.status,
        finding=found.summary,
        champion=version_of(champion),
        evidence=found.evidence,
        compared_with=basis,
        num_periods=int(found.periods["counted"].sum()),
        thresholds=found.thresholds,
        periods=_rows(found.periods),
        plot=_draw(found, usual, store),
    )


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
        if _told(store) != [seen.champion, seen.evidence]:
            tell(config.notify, f"{seen.name}: drift", f"{seen.finding}\n\n{seen.retraining}".rstrip())
    store.home.write(RECORD, seen.model_dump_json(indent=1))
    show_markdown("monitor", seen.name, _markdown(seen, store), description=seen.finding)
    return seen


def _usual(card: BundleCard, store: Store, issued: pd.DataFrame, end: Any) -> tuple[Envelope, str]:
    """The envelope to compare with, and where it comes from.

    A champion that was trained because of drift is measured by the errors before it for a while: its own test may show
    no more than that it is better than nothing, and the search for one that repairs the error would end there.
    """
    before = card.envelope_before_drift
    if before is not None and _is_new(issued, before, end):
        return before, "the champion's test before the drift"
    own = card.envelope
    assert own is not None
    usual = better_known(own, _find_backtest(card, store))
    origin = "the champion's own test" if usual is own else "the backtest"
    return usual, f"{origin}, {usual.num_periods} periods of {usual.period_steps} steps"


def _find_backtest(card: BundleCard, store: Store) -> Envelope | None:
    """Return the envelope of a backtest of the same problem; None where there is none that this version can read."""
    try:
        kept = BacktestEnvelope.model_validate(json.loads(store.home.read(ENVELOPE)))
        same = is_same_problem(Plan.model_validate(kept.plan), card.read_plan())
    except FileNotFoundError:
        return None
    except ValueError as error:
        reason = str(error).splitlines()[0]
        get_run_logger().warning(
            "%s is not compared with: %s; run a backtest again", store.home.shown(ENVELOPE), reason
        )
        return None
    return kept.envelope if same else None


def _is_new(issued: pd.DataFrame, usual: Envelope, end: Any) -> bool:
    """Whether a champion has forecast for fewer than `RECOVERY_PERIODS`, by what was issued of it."""
    recently = _earlier(end, RECOVERY_PERIODS * usual.period_steps, usual.frequency)
    return issued.empty or bool(first_cutoff(issued) > recently)


def _pieces(series: Artifact, champion: Artifact, store: Store, *, since: Any) -> Iterator[Piece]:
    """Shard by shard: what was forecast from cutoffs since then, whatever has become of the series, and what happened.

    A shard's share of the ledger begins at the name of its first series.
    """
    shards, ledger, scales = store.shards(series), Ledger(store), scales_of(champion, store)
    names = [read_first_id(store.path(shard) / TABLE) for shard in shards]
    for shard, name, after in zip(shards, ["", *names[1:]], [*names[1:], None], strict=True):
        tables = ledger.read(since=since, ids=(name, after)), scales
        issued, scaled = (table[_is_between(table["unique_id"], name, after)] for table in tables)
        yield Piece(issued, series_of(shard, store, since=since), scaled)


def _is_between(ids: pd.Series[str], first: str, after: str | None) -> pd.Series[bool]:
    """Not before the first, and before the name after the last, if there is one."""
    found: pd.Series[bool] = ids >= first
    return found if after is None else found & (ids < after)


def _span(usual: Envelope, champion: str, end: Any, issued: pd.DataFrame) -> tuple[Any, Any]:
    """The first cutoff that is read of the ledger, which keeps all, and where the champion's periods begin."""
    origin = origin_of(issued, champion=champion, end=end, usual=usual)
    since = _earlier(end, LOOK_BACK * usual.period_steps + usual.horizon, usual.frequency)
    return (since if origin is None else min(since, origin)), origin


def _end(series: Artifact, store: Store) -> Any:
    return max(find_last_observed(folder / TABLE) for folder in folders_of(series, store))


def _earlier(end: Any, steps: int, frequency: str) -> Any:
    """The moment so many steps before another."""
    return advance(np.array([end]), np.array([-steps]), frequency)[0]


def _retrain(seen: Monitored, config: PipelineConfig, store: Store) -> str:
    """Start the deployment that retrains; where there is none, the command that does it."""
    reason = f"drift: {seen.finding}"
    words = ["--config", store.home.shown("pipeline.yaml"), "--store", store.home.parent, "--reason", "drift"]
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


def _told(store: Store) -> list[str | None]:
    """Champion and evidence of the last look; a record that cannot be read is none."""
    try:
        record = json.loads(store.home.read(RECORD))
    except (FileNotFoundError, ValueError):
        return []
    return [record.get("champion"), record.get("evidence")]


def _draw(found: DriftCheck, usual: Envelope, store: Store) -> str | None:
    if found.periods.empty:
        return None
    store.home.write(PLOT, to_png(plot_drift(found, usual)))
    return store.home.shown(PLOT)


def _rows(periods: pd.DataFrame) -> list[dict[str, Any]]:
    """As JSON: no NaN, moments as text."""
    text = periods.assign(end=periods["end"].astype(str)).astype(object)
    rows = text.where(text.notna(), None).to_dict(orient="records")
    return [{str(name): value for name, value in row.items()} for row in rows]


def _markdown(seen: Monitored, store: Store) -> str:
    parts = [
        f"# Monitor: {escape_markdown(seen.name)}",
        f"**{seen.status.capitalize()}.** {escape_markdown(seen.finding)}",
    ]
    if seen.retraining:
        parts.append(f"Retraining: {escape_markdown(seen.retraining)}")
    if seen.plot:
        picture = base64.b64encode(store.home.read(PLOT)).decode()
        parts.append(f"![errors over time](data:image/png;base64,{picture})")
    if seen.compared_with:
        parts.append(
            f"Compared with {seen.compared_with}. 1 is the error of that test; alarms are at the dotted lines."
        )
    if seen.periods:
        parts.append(_table(seen.periods[::-1][:SHOWN]))
    return "\n\n".join(parts)


def _table(rows: list[dict[str, Any]]) -> str:
    shares = find_coverage(rows[0])
    heads = ["period to", "model", "error", *(f"inside {show_level(level)}" for level in shares.values())]
    lines = [
        f"| {row['end']} | `{row['model_version']}` | {format_number(row['error'])} | "
        + " | ".join("–" if row[s] is None else f"{row[s]:.0%}" for s in shares)
        + " |"
        for row in rows
    ]
    return "\n".join([f"| {' | '.join(heads)} |", "| --- | --- |" + " ---: |" * (1 + len(shares)), *lines])
