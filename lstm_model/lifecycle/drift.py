"""Look in a store for drift: read what the champion issued and what happened, and choose the errors to compare with."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pandas as pd

from lstm_model.contracts.artifact import Artifact, version_of
from lstm_model.contracts.bundle_card import BundleCard, read_bundle_card
from lstm_model.contracts.envelope import BacktestEnvelope, Envelope
from lstm_model.contracts.monitored import Monitored, PeriodRecord
from lstm_model.contracts.settings import PipelineConfig, Plan
from lstm_model.evaluation.backtest import is_same_problem
from lstm_model.lifecycle.champion import require_whole
from lstm_model.lifecycle.delivery_changes import find_ended
from lstm_model.lifecycle.ledger import Ledger, select_latest
from lstm_model.lifecycle.monitor import (
    LOOK_BACK,
    DriftCheck,
    Piece,
    choose_better_known,
    find_first_cutoff,
    find_origin,
    watch,
)
from lstm_model.lifecycle.registry import Registry
from lstm_model.lifecycle.stage_outputs import ENVELOPE, TABLE, list_folders, read_clock, read_scales, read_targets
from lstm_model.series.series_table import find_last_observed, read_first_id
from lstm_model.storage.checksums import DamagedFileError
from lstm_model.storage.notes import read_note
from lstm_model.storage.store import Store
from lstm_model.timeline.frequency import Frequency

logger = logging.getLogger(__name__)

RECORD = "monitor.json"
"""What the last look found, at the top of the store."""
RECOVERY_PERIODS = 16
"""So long after a retraining because of drift, errors must come back to what they were before; then its own count."""


@dataclass(frozen=True)
class Look:
    """What was found, and what it was found from, for a plot; None where there is nothing to compare."""

    found: Monitored
    check: DriftCheck | None = None
    usual: Envelope | None = None


def look_for_drift(series: Artifact, config: PipelineConfig, store: Store) -> Look:
    """Compare the champion's forecasts in the ledger with the newest actuals."""
    champion = Registry(store).get("champion")
    if champion is None:
        text = "There is no champion yet; run retrain first."
        return Look(Monitored(name=config.name, status="no champion", finding=text))
    require_whole(champion, store)
    card, version = read_bundle_card(store.path(champion)), version_of(champion)
    seen = _find_ended(series, champion, card, store)
    if card.envelope is None:
        text = "The champion had no test, so nothing says what its errors should be; bring a longer history."
        return Look(Monitored(name=config.name, status="no envelope", finding=text, champion=version, **seen))
    end = max(find_last_observed(folder / TABLE) for folder in list_folders(series, store))
    issued = Ledger(store).cutoffs()
    usual, basis = _choose_envelope(card, store, issued[issued["model_version"] == version], end)
    since, origin = _find_span(usual, version, end, issued)
    if len(issued):  # an empty ledger does not know what its moments are
        issued = issued[issued["cutoff"] >= since]
    check = watch(
        _read_pieces(series, champion, store, since=min([end, *issued["cutoff"].to_numpy()])),
        issued=issued,
        end=end,
        usual=usual,
        champion=version,
        origin=origin,
        periods_per_false_alarm=config.monitoring.periods_per_false_alarm,
        clock=read_clock(series, store),
    )
    logger.log(logging.WARNING if check.alarm else logging.INFO, "%s", check.summary)
    found = Monitored(
        name=config.name,
        status=check.status,
        finding=check.summary,
        champion=version,
        evidence=check.evidence,
        compared_with=basis,
        num_periods=int(check.periods["counted"].sum()),
        thresholds=check.thresholds,
        periods=_to_records(check.periods),
        **seen,
    )
    return Look(found, check, usual)


def _find_ended(series: Artifact, champion: Artifact, card: BundleCard, store: Store) -> dict[str, list[str]]:
    """Return, and log, the series that are gone from the data and those that ended: nothing else misses them."""
    known = read_scales(champion, store)["unique_id"].astype(str).tolist() if card.envelope is not None else []
    gone, ended = find_ended(series, known, store, steps=card.read_plan().window.horizon)
    found = Monitored(name="", status="waiting", finding="", gone=gone, ended=ended)
    for text in found.describe_ended():
        logger.warning("%s", text)
    return {"gone": gone, "ended": ended}


def is_known(found: Monitored, store: Store) -> bool:
    """Return whether the last look found the same evidence for this champion; a record that is damaged found none."""
    try:
        record = read_note(store.backend, RECORD, dict[str, Any])
    except FileNotFoundError:
        return False
    except DamagedFileError as error:
        logger.warning("%s. It counts as if nothing had been found before", error)
        return False
    return (record.get("champion"), record.get("evidence")) == (found.champion, found.evidence)


def is_recovering(issued: pd.DataFrame, usual: Envelope, end: Any) -> bool:
    """Return whether a champion has forecast for fewer than `RECOVERY_PERIODS`, by what was issued of it."""
    recently = _earlier(end, RECOVERY_PERIODS * usual.period_steps, usual.frequency)
    return issued.empty or bool(find_first_cutoff(issued) > recently)


def _choose_envelope(card: BundleCard, store: Store, issued: pd.DataFrame, end: Any) -> tuple[Envelope, str]:
    """Return the envelope to compare with, and say where it comes from.

    A champion that was trained because of drift is measured by the errors before it for a while: its own test may show
    no more than that it is better than nothing, and the search for one that repairs the error would end there.
    """
    before = card.envelope_before_drift
    if before is not None and is_recovering(issued, before, end):
        return before, "the champion's test before the drift"
    own = card.envelope
    assert own is not None
    usual = choose_better_known(own, _find_backtest(card, store))
    origin = "the champion's own test" if usual is own else "the backtest"
    return usual, f"{origin}, {usual.num_periods} periods of {usual.period_steps} steps"


def _find_backtest(card: BundleCard, store: Store) -> Envelope | None:
    """Return the envelope of a backtest of the same problem; None where there is none that this version can read."""
    try:
        kept = read_note(store.backend, ENVELOPE, BacktestEnvelope)
        same = is_same_problem(Plan.model_validate(kept.plan), card.read_plan())
    except FileNotFoundError:
        return None
    except ValueError as error:
        reason = str(error).splitlines()[0]
        logger.warning("%s is not compared with: %s; run a backtest again", store.backend.shown(ENVELOPE), reason)
        return None
    return kept.envelope if same else None


def _read_pieces(series: Artifact, champion: Artifact, store: Store, *, since: Any) -> Iterator[Piece]:
    """Read shard by shard what was forecast from cutoffs since then, whatever became of the series, and what happened.

    A shard's share of the ledger begins at the name of its first series.
    """
    shards, ledger, scales = store.shards(series), Ledger(store), read_scales(champion, store)
    names = [read_first_id(store.path(shard) / TABLE) for shard in shards]
    for shard, name, after in zip(shards, ["", *names[1:]], [*names[1:], None], strict=True):
        tables = ledger.read(since=since, ids=(name, after)), scales
        issued, scaled = (table[_is_between(table["unique_id"], name, after)] for table in tables)
        yield Piece(select_latest(issued), read_targets(shard, store, since=since), scaled)


def _is_between(ids: pd.Series[str], first: str, after: str | None) -> pd.Series[bool]:
    """Find the names not before the first, and before the name after the last, if there is one."""
    found: pd.Series[bool] = ids >= first
    return found if after is None else found & (ids < after)


def _find_span(usual: Envelope, champion: str, end: Any, issued: pd.DataFrame) -> tuple[Any, Any]:
    """Return the first cutoff that is read of the ledger, which keeps all, and where the champion's periods begin."""
    origin = find_origin(issued, champion=champion, end=end, usual=usual)
    since = _earlier(end, LOOK_BACK * usual.period_steps + usual.horizon, usual.frequency)
    return (since if origin is None else min(since, origin)), origin


def _earlier(end: Any, steps: int, frequency: str) -> Any:
    """Return the moment so many steps before another."""
    return Frequency(frequency).advance_one(end, -steps)


def _to_records(periods: pd.DataFrame) -> list[PeriodRecord]:
    rows = periods.assign(end=periods["end"].astype(str)).to_dict(orient="records")
    return [PeriodRecord.model_validate(row) for row in rows]
