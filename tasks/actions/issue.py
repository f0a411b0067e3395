"""Issue the champion's forecasts: into the ledger first, then to their readers. Never cached, and idempotent."""

from __future__ import annotations

from typing import Literal

import pyarrow as pa
import pyarrow.compute as pc
from prefect import task
from prefect.cache_policies import NO_CACHE
from pydantic import BaseModel

from lstm_model.contracts.artifact import Artifact
from lstm_model.contracts.clock import Clock
from lstm_model.contracts.settings import Forecasting
from lstm_model.lifecycle.issuing import Issue, deliver_missing, issue_forecasts
from lstm_model.lifecycle.retention import clean_up, remember
from lstm_model.lifecycle.stage_outputs import FORECASTS, read_clock, read_target_name, read_targets
from lstm_model.reporting.fan_chart import pick_largest, plot_upcoming
from lstm_model.reporting.figures import to_png
from lstm_model.reporting.markdown import escape_markdown
from lstm_model.reporting.report import Picture
from lstm_model.storage.checked_parquet import CheckedParquet
from lstm_model.storage.store import Store
from lstm_model.timeline.time_zones import to_wall_time
from tasks.actions.publish import from_here
from tasks.runtime.logs import forwarded_logs
from tasks.runtime.passwords import read_password
from tasks.runtime.prefect_ui import show_markdown
from tasks.runtime.records import StageRecord
from tasks.runtime.resume import drop
from tasks.runtime.retries import IO_RETRIES

ROWS_SHOWN = 12


class Issued(BaseModel):
    """What a run of the flow gives back; `summary` is what the command line prints."""

    status: Literal["issued", "unchanged"]
    """unchanged: nothing was new."""
    name: str
    issue: Issue
    forecasts: str
    """The latest forecast of each series, a Parquet file."""
    delivered_rows: int | None
    """Rows that the database did not have; None where none is configured."""
    stages: list[StageRecord]

    def summary(self) -> str:
        issue = self.issue
        what = f"{issue.num_series:,} series from {issue.cutoff}, by {issue.model_version}"
        if self.status == "issued":
            lines = [f"{self.name}: {issue.new_rows:,} new forecast rows; {what}"]
        else:
            lines = [f"{self.name}: nothing new, these forecasts were issued before; {what}"]
        lines += [f"note: {note}" for note in issue.notes]
        lines.append(f"forecasts {self.forecasts}")
        if self.delivered_rows is not None:
            lines.append(f"database  {self.delivered_rows:,} rows inserted")
        return "\n".join(lines)


@task(name="issue", task_run_name="issue", cache_policy=NO_CACHE, timeout_seconds=6 * 3600)
def issue(forecasts: list[Artifact], champion: Artifact, clock: Clock | None, store: Store) -> Issue:
    """Put into the ledger the forecasts that it does not have; see `issue_forecasts`."""
    with forwarded_logs("lstm_model"):
        return issue_forecasts(forecasts, champion, store, clock=clock)


@task(name="deliver", task_run_name="deliver to {forecasting.table}", cache_policy=NO_CACHE, **IO_RETRIES)
def deliver(forecasting: Forecasting, store: Store, clock: Clock | None = None) -> int:
    """Hand to the database what it does not have; return how many rows were new there. See `deliver_missing`."""
    password = read_password(forecasting.password_from, setting="forecasting.password_from")
    database = {"url": forecasting.url, "table": forecasting.table, "password": password}
    return deliver_missing(database, store, clock=clock)


@task(name="show forecasts", task_run_name="show forecasts", cache_policy=NO_CACHE)
def show(
    name: str, issue: Issue, delivered_rows: int | None, series: Artifact, records: list[StageRecord], store: Store
) -> Issued:
    """The forecasts in the UI: a plot of a few series and the first rows."""
    latest = CheckedParquet(store.backend.read(FORECASTS), store.backend.shown(FORECASTS)).read()
    issued = Issued(
        status="issued" if issue.new_rows else "unchanged",
        name=name,
        issue=issue,
        forecasts=from_here(store.backend.shown(FORECASTS)),
        delivered_rows=delivered_rows,
        stages=records,
    )
    picture = draw_issue(latest, series, store)
    page = f"```\n{issued.summary()}\n```\n\n![forecasts]({picture.uri})\n\n{_table(latest)}"
    show_markdown("forecasts", name, page, description=issued.summary().splitlines()[0])
    remember(store, [record.artifact for record in records], flow="forecast")
    with forwarded_logs("lstm_model"):
        clean_up(store)
    drop(store)
    return issued


def draw_issue(latest: pa.Table, series: Artifact, store: Store) -> Picture:
    chosen = pick_largest(latest)
    ahead = latest.filter(pc.is_in(latest["unique_id"], pa.array(chosen))).to_pandas()
    clock = read_clock(series, store)
    history = to_wall_time(read_targets(series, store, only=chosen), clock)
    if clock is not None:
        ahead = to_wall_time(ahead.assign(cutoff=ahead["cutoff_utc"], ds=ahead["ds_utc"]), clock)
    figure = plot_upcoming(ahead, history, target=read_target_name(series, store))
    return Picture("forecasts", "", to_png(figure))


def _table(latest: pa.Table) -> str:
    shown = latest.slice(0, ROWS_SHOWN).to_pandas()
    head = f"| {' | '.join(shown.columns)} |\n|{' --- |' * len(shown.columns)}"
    rows = [f"| {' | '.join(escape_markdown(_short(v)) for v in row)} |" for row in shown.itertuples(index=False)]
    more = f"\n\n… and {latest.num_rows - len(shown):,} rows more." if latest.num_rows > len(shown) else ""
    return "\n".join([head, *rows]) + more


def _short(value: object) -> str:
    return f"{value:.5g}" if isinstance(value, float) else str(value)
