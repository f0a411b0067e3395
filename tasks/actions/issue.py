"""Issue the champion's forecasts: into the ledger first, then to their readers. Never cached, and idempotent.

A run that is killed between two of these steps loses nothing: what is in the ledger and not yet in the database is
handed over by the next one. How far the database is, it tells itself: a note of that would outlive a database or a
ledger that was restored from a backup, and leave a hole for ever.
"""

from __future__ import annotations

import io
from typing import Any, Literal

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.logging import get_run_logger
from pydantic import BaseModel

from lstm_model.contracts.artifact import Artifact, version_of
from lstm_model.contracts.findings import DataError, left_out_notes
from lstm_model.contracts.settings import Forecasting
from lstm_model.contracts.stage_meta import ForecastsMeta
from lstm_model.lifecycle.ledger import Ledger
from lstm_model.lifecycle.registry import Registry
from lstm_model.lifecycle.retention import remember
from lstm_model.reporting.fan_chart import largest, plot_upcoming
from lstm_model.reporting.figures import to_png
from lstm_model.reporting.markdown import escape_markdown
from lstm_model.reporting.report import Picture
from lstm_model.storage.store import Store
from tasks.actions.publish import clean_up, from_here
from tasks.runtime.passwords import read_password
from tasks.runtime.prefect_ui import show_markdown
from tasks.runtime.records import StageRecord
from tasks.runtime.resume import drop
from tasks.runtime.retries import IO_RETRIES
from tasks.stages.stage_outputs import FORECASTS, forecasts_of, series_of, target_of

ROWS_SHOWN = 12


class Issue(BaseModel):
    """What one look at the data gave."""

    model_version: str
    new_rows: int
    """Rows that the ledger did not have; none where no series has gone on since."""
    num_series: int
    cutoff: str
    """The latest."""
    notes: list[str]


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


def require_champion(store: Store, name: str) -> Artifact:
    """Before any data are read: there must be something to forecast with.

    Raises:
        ValueError: no bundle was promoted yet.
    """
    champion = Registry(store).get("champion")
    if champion is None:
        raise ValueError(
            f"{name} has no champion to forecast with in {store.home.parent}; run retrain first: python -m "
            "flows.retrain. Where a model was trained and not promoted, its report says why"
        )
    return champion


@task(name="issue", task_run_name="issue", cache_policy=NO_CACHE, timeout_seconds=6 * 3600)
def issue(forecasts: list[Artifact], champion: Artifact, store: Store) -> Issue:
    """Put into the ledger the forecasts that it does not have.

    A forecast is known by its series, cutoff and model: where only older values were revised, the one that was issued
    stays. `forecasts.parquet` holds the latest of each series, as the ledger does.
    """
    version, ledger = version_of(champion), Ledger(store)
    made = [one for one in forecasts if one.num_rows]
    notes = left_out_notes(store.read_meta(one, ForecastsMeta).left_out for one in forecasts)
    if not made:
        raise DataError(f"no series can be forecast; {'; '.join(notes)}")
    new_rows = ledger.append((forecasts_of(one, store) for one in made), model_version=version)
    latest = pa.concat_tables([_as_issued(one, ledger, version, store) for one in made])
    buffer = io.BytesIO()
    pq.write_table(latest, buffer, compression="zstd")
    store.home.write(FORECASTS, buffer.getvalue(), durable=True)
    for note in notes:
        get_run_logger().warning("%s", note)
    return Issue(
        model_version=version,
        new_rows=new_rows,
        num_series=pc.count_distinct(latest["unique_id"]).as_py(),
        cutoff=str(pc.max(latest["cutoff"]).as_py()),
        notes=notes,
    )


@task(name="deliver", task_run_name="deliver to {forecasting.table}", cache_policy=NO_CACHE, **IO_RETRIES)
def deliver(forecasting: Forecasting, store: Store) -> int:
    """Hand to the database what was issued since the latest issue that it has; returns how many rows were new there.

    That issue is looked for from the newest back, as far as need be: a database that is named for the first time, or
    was emptied, receives the whole ledger, and one that was restored from a backup, however old, what came after it.
    Issues are handed over oldest first, so that a kill leaves no hole. Rows that somebody deleted stay deleted as long
    as the latest issue is there; a new table receives them too.
    """
    from lstm_model.lifecycle.sql_sink import insert_missing

    assert forecasting.url is not None
    password = read_password(forecasting.password_from, setting="forecasting.password_from")
    database: dict[str, Any] = {"url": forecasting.url, "table": forecasting.table, "password": password}
    ledger, inserted = Ledger(store), 0
    with store.lock("deliver"):
        done = _handed_over(ledger, database)
        while (found := ledger.issue_after(done)) is not None:
            done, rows = found
            inserted += insert_missing(rows, **database)
    return inserted


@task(name="show forecasts", task_run_name="show forecasts", cache_policy=NO_CACHE)
def show(
    name: str, issue: Issue, delivered_rows: int | None, series: Artifact, records: list[StageRecord], store: Store
) -> Issued:
    """The forecasts in the UI: a plot of a few series and the first rows."""
    latest = pq.read_table(io.BytesIO(store.home.read(FORECASTS)))
    issued = Issued(
        status="issued" if issue.new_rows else "unchanged",
        name=name,
        issue=issue,
        forecasts=from_here(store.home.shown(FORECASTS)),
        delivered_rows=delivered_rows,
        stages=records,
    )
    picture = _picture(latest, series, store)
    page = f"```\n{issued.summary()}\n```\n\n![forecasts]({picture.uri})\n\n{_table(latest)}"
    show_markdown("forecasts", name, page, description=issued.summary().splitlines()[0])
    remember(store, [record.artifact for record in records], flow="forecast")
    clean_up(store)
    drop(store)
    return issued


def _handed_over(ledger: Ledger, database: dict[str, Any]) -> int:
    """The number of the latest issue that the database has; -1 where it has none."""
    from lstm_model.lifecycle.sql_sink import holds

    number = None
    while (found := ledger.issue_before(number)) is not None:
        part, keys = found
        if holds(keys, **database):
            return part.last
        number = part.first
    return -1


def _as_issued(forecasts: Artifact, ledger: Ledger, version: str, store: Store) -> pa.Table:
    """A shard's forecasts as the ledger has them."""
    asked = forecasts_of(forecasts, store, ["unique_id", "cutoff", "step"])
    ids = asked["unique_id"].min(), asked["unique_id"].max()
    issued = ledger.read(cutoffs=asked["cutoff"], ids=ids, model_version=version)
    return pa.Table.from_pandas(asked.merge(issued)[issued.columns], preserve_index=False)


def _picture(latest: pa.Table, series: Artifact, store: Store) -> Picture:
    chosen = largest(latest)
    ahead = latest.filter(pc.is_in(latest["unique_id"], pa.array(chosen))).to_pandas()
    figure = plot_upcoming(ahead, series_of(series, store, only=chosen), target=target_of(series, store))
    return Picture("forecasts", "", to_png(figure))


def _table(latest: pa.Table) -> str:
    shown = latest.slice(0, ROWS_SHOWN).to_pandas()
    head = f"| {' | '.join(shown.columns)} |\n|{' --- |' * len(shown.columns)}"
    rows = [f"| {' | '.join(escape_markdown(_short(v)) for v in row)} |" for row in shown.itertuples(index=False)]
    more = f"\n\n… and {latest.num_rows - len(shown):,} rows more." if latest.num_rows > len(shown) else ""
    return "\n".join([head, *rows]) + more


def _short(value: object) -> str:
    return f"{value:.5g}" if isinstance(value, float) else str(value)
