"""Issue forecasts into the ledger, and deliver them to a database, so that a kill between the two loses nothing.

What is in the ledger and not yet in the database is handed over by the next run. How far the database is, it tells
itself: a note of that would outlive a database or a ledger that was restored from a backup, and leave a hole for ever.
"""

from __future__ import annotations

import logging
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import BaseModel

from lstm_model.contracts.artifact import Artifact, version_of
from lstm_model.contracts.bundle_card import read_record
from lstm_model.contracts.clock import Clock, show_moment
from lstm_model.contracts.findings import DataError, left_out_notes, number
from lstm_model.contracts.stage_meta import ForecastsMeta
from lstm_model.lifecycle.delivery import read_changes
from lstm_model.lifecycle.ledger import Ledger, select_latest
from lstm_model.lifecycle.registry import Registry
from lstm_model.lifecycle.stage_outputs import FORECASTS, read_forecasts
from lstm_model.storage.checked_parquet import dump_table
from lstm_model.storage.store import Store
from lstm_model.timeline.time_zones import add_source_clock

logger = logging.getLogger(__name__)


class Issue(BaseModel):
    """What one look at the data gave."""

    model_version: str
    new_rows: int
    """Rows that the ledger did not have; none where no series has gone on or was revised since."""
    num_series: int
    cutoff: str
    """The latest."""
    notes: list[str]


def require_champion(store: Store, name: str) -> Artifact:
    """Return the champion, before any data are read.

    Raises:
        ValueError: no bundle was promoted yet.
    """
    champion = Registry(store).get("champion")
    if champion is None:
        raise ValueError(
            f"{name} has no champion to forecast with in {store.backend.parent}; run retrain first: python -m "
            "flows.retrain. Where a model was trained and not promoted, its report says why"
        )
    return champion


def check_horizon(asked: int | None, champion: Artifact, store: Store) -> None:
    """Check that the champion forecasts as many steps as the config says, if it says so.

    Raises:
        ValueError: it was trained for another horizon.
    """
    own = read_record(store.path(champion)).shape.horizon
    if asked is not None and asked != own:
        raise ValueError(
            f"horizon is {asked}, but the champion {version_of(champion)} forecasts {own} steps, as it was trained. "
            f"Retrain with horizon {asked} first, or leave it out (or set it to {own}) to forecast {own} steps"
        )


def issue_forecasts(
    forecasts: list[Artifact], champion: Artifact, store: Store, *, clock: Clock | None = None
) -> Issue:
    """Put into the ledger the forecasts that it does not have.

    A forecast is known by its series, cutoff, model and data. Where the data that it is made of were revised, a new one
    is issued as the next revision, which the notes say. `forecasts.parquet` holds the latest of each series, in
    the source's own clock; the ledger keeps UTC.
    """
    version, ledger = version_of(champion), Ledger(store)
    made = [one for one in forecasts if one.num_rows]
    about = [store.read_meta(one, ForecastsMeta) for one in forecasts]
    notes = left_out_notes(one.left_out for one in about)
    notes += dict.fromkeys(remark for one in about for remark in one.remarks)
    if not made:
        raise DataError(f"no series can be forecast; {'; '.join(notes)}")
    new_rows = ledger.append((read_forecasts(one, store) for one in made), model_version=version)
    latest = pa.concat_tables([_read_issued(one, ledger, version, store, clock) for one in made])
    revised = latest.filter(pc.greater(latest["revision"], 0))
    if new_rows and revised.num_rows:
        count = number(pc.count_distinct(revised["unique_id"]).as_py(), "series", "series")
        notes.append(
            f"the data of {count} were revised: forecasts of the same cutoff replace earlier ones, see revision"
        )
    store.backend.write(FORECASTS, dump_table(latest), durable=True)
    for note in notes:
        logger.warning("%s", note)
    notes = [*read_changes(store, flow="forecast"), *notes]  # those were logged before
    return Issue(
        model_version=version,
        new_rows=new_rows,
        num_series=pc.count_distinct(latest["unique_id"]).as_py(),
        cutoff=show_moment(str(pc.max(latest["cutoff"]).as_py())),
        notes=notes,
    )


def deliver_missing(database: dict[str, Any], store: Store, *, clock: Clock | None = None) -> int:
    """Hand to the database what was issued since the latest issue that it has; return how many rows were new there.

    That issue is looked for from the newest back, as far as need be: a database that is named for the first time, or
    was emptied, receives the whole ledger, and one that was restored from a backup, however old, what came after it.
    Issues are handed over oldest first, so that a kill leaves no hole. Rows that somebody deleted stay deleted as long
    as the latest issue is there; a new table receives them too.

    Args:
        database: the url, table and password of `insert_missing`.
        store: of the problem.
        clock: the source's own.
    """
    from lstm_model.lifecycle.sql_sink import insert_missing

    ledger, inserted = Ledger(store), 0
    clock = clock.model_copy(update={"aware": False}) if clock else None  # columns without a zone, in every database
    with store.lock("deliver"):
        done = _find_delivered(ledger, database, clock)
        while (found := ledger.issue_after(done)) is not None:
            done, rows = found
            inserted += insert_missing(add_source_clock(rows, clock), **database)
    return inserted


def _find_delivered(ledger: Ledger, database: dict[str, Any], clock: Clock | None) -> int:
    """Return the number of the latest issue that the database has; -1 if it has none."""
    from lstm_model.lifecycle.sql_sink import holds

    number = None
    while (found := ledger.issue_before(number)) is not None:
        part, keys = found
        keys = keys if clock is None else keys.rename(columns={"cutoff": "cutoff_utc"})
        if holds(keys, **database):
            return part.last
        number = part.first
    return -1


def _read_issued(forecasts: Artifact, ledger: Ledger, version: str, store: Store, clock: Clock | None) -> pa.Table:
    """Return a shard's forecasts as the ledger has them, in the source's own clock."""
    asked = read_forecasts(forecasts, store, ["unique_id", "cutoff", "step"])
    ids = asked["unique_id"].min(), asked["unique_id"].max()
    issued = ledger.read(cutoffs=asked["cutoff"], ids=ids, model_version=version)
    latest = add_source_clock(select_latest(asked.merge(issued)[issued.columns]), clock)
    return pa.Table.from_pandas(latest, preserve_index=False)
