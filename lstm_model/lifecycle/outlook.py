"""Foresee, from the data alone, whether a retraining and the next forecast will work, and what each would choose."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from itertools import chain, islice
from pathlib import Path
from tempfile import TemporaryDirectory

from lstm_model.contracts.artifact import Artifact
from lstm_model.contracts.findings import DataError, number
from lstm_model.contracts.inspection import Inferred, Inspection, Prospect
from lstm_model.contracts.settings import Covariates, PipelineConfig, WindowSpec
from lstm_model.lifecycle.stage_outputs import TABLE
from lstm_model.series.infer import infer_plan
from lstm_model.series.known_ahead import is_known_ahead
from lstm_model.series.series_table import find_last_observed, read_series
from lstm_model.storage.store import Store
from lstm_model.windows.segments import write_windows

logger = logging.getLogger(__name__)

MOST_SERIES = 20_000
"""Most series whose future covariates are looked at: those of one source mostly end alike."""
MOST_ROWS_CUT = 2_000_000
"""Rows up to which windows are cut to count them; more take longer than a look should, and have enough."""


def add_prospects(found: Inspection, config: PipelineConfig, table: Path) -> None:
    """Say what retrain will choose, and whether it and forecast will work; a source with errors can do neither.

    Args:
        found: what was read; receives `choices` and `prospects`.
        config: what the user set.
        table: the series table.
    """
    if found.errors or found.profile is None:
        text = f"{number(len(found.errors), 'error')} above must be mended first"
        found.prospects = [Prospect(flow=flow, works=False, reason=text) for flow in ("retrain", "forecast")]
        return
    try:
        _, plan, chosen = infer_plan(config, found.profile, clock=found.clock)
        windows = _count_windows(table, plan.window, config.covariates, found.profile.num_observed)
    except ValueError as error:
        found.prospects = [
            Prospect(flow="retrain", works=False, reason=str(error)),
            Prospect(flow="forecast", works=False, reason="there will be no model to forecast with"),
        ]
        return
    found.choices = [Inferred(setting=name, value=value, reason=why) for name, value, why in chosen]
    spec = plan.window
    test = f"tests on the last {number(spec.test_steps, 'step')}" if spec.test_steps else "history is too short to test"
    text = f"{windows}; {test}"
    found.prospects = [
        Prospect(flow="retrain", works=True, reason=text),
        _foresee_forecast([table], config.covariates, spec),
    ]


def foresee_failure(tables: Iterable[Path], covariates: Covariates, spec: WindowSpec) -> str:
    """Return why a forecast from the end of these series tables would fail; "" if none of `MOST_SERIES` would."""
    if not covariates.future:
        return ""
    tables, problems = list(tables), []
    end = max(find_last_observed(table) for table in tables)
    all_series = chain.from_iterable(read_series(table, covariates) for table in tables)
    for series in islice(all_series, MOST_SERIES):
        try:
            is_known_ahead(series, covariates.future, horizon=spec.horizon, frequency=spec.frequency, end=end)
        except DataError as error:
            problems.append(str(error))
    more = f" ({number(len(problems), 'series', 'series')} in all)" if len(problems) > 1 else ""
    return problems[0] + more if problems else ""


def warn_of_failure(series: Artifact, covariates: Covariates, spec: WindowSpec, store: Store) -> list[str]:
    """Log, and return, why the next forecast would fail with the data as they are; nothing if it would not."""
    tables = (store.path(shard) / TABLE for shard in store.shards(series))
    why = foresee_failure(tables, covariates, spec)
    if not why:
        return []
    text = f"the next forecast will fail unless the source brings more before it: {why}"
    logger.warning("%s", text)
    return [text]


def _foresee_forecast(tables: list[Path], covariates: Covariates, spec: WindowSpec) -> Prospect:
    why = foresee_failure(tables, covariates, spec)
    return Prospect(
        flow="forecast", works=not why, reason=why or f"{number(spec.horizon, 'step')} of {spec.frequency} ahead"
    )


def _count_windows(table: Path, spec: WindowSpec, covariates: Covariates, num_rows: int) -> str:
    """Cut the training windows as retrain does; return their number in words.

    Raises:
        ValueError: there are none.
    """
    if num_rows > MOST_ROWS_CUT:
        return f"trains on {num_rows:,} values"
    with TemporaryDirectory() as folder:
        count = write_windows(table, Path(folder), spec=spec, covariates=covariates)
    if not count:
        raise ValueError("there are no training windows; use a shorter context or horizon, or bring longer series")
    return f"trains on {number(count, 'window')} of {spec.context} + {spec.horizon} steps"
