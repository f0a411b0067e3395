"""Score the model on windows that it has not seen, beside the baselines."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from prefect import task
from prefect.cache_policies import NO_CACHE

from lstm_model.contracts.artifact import Artifact
from lstm_model.contracts.bundle_card import name_covariates, read_model_card
from lstm_model.contracts.settings import WindowSpec
from lstm_model.contracts.shard import Frame
from lstm_model.lifecycle.stage_outputs import FORECASTS, SCALES, TABLE, series_of
from lstm_model.storage.store import Draft, Store

if TYPE_CHECKING:
    import pandas as pd

    from lstm_model.windows.in_memory import Windows


@task(name="evaluate", task_run_name="evaluate", cache_policy=NO_CACHE, timeout_seconds=6 * 3600)
def evaluate(series: Artifact, windows: Artifact, model: Artifact, spec: WindowSpec, store: Store) -> Artifact:
    """Every test forecast (Parquet) and the scores; `num_rows` is the number of forecast points.

    A history too short for a test gives an artifact without scores, and the report says so.
    """
    from lstm_model.evaluation.evaluate import score

    with store.create("scores") as draft:
        found = _forecast(series, windows, model, spec, store=store, frame=None)
        if found is not None:
            _save(*found, draft)
            score(found[0], scale=found[1]).to_folder(draft.folder)
    return draft.artifact


@task(name="evaluate shard", task_run_name="evaluate shard", cache_policy=NO_CACHE, timeout_seconds=6 * 3600)
def evaluate_shard(
    series: Artifact, windows: Artifact, model: Artifact, spec: WindowSpec, frame: Frame, store: Store
) -> Artifact:
    """As `evaluate`, of one shard of a panel, without the scores: those are of all shards together."""
    with store.create("forecasts") as draft:
        found = _forecast(series, windows, model, spec, store=store, frame=frame)
        if found is not None:
            _save(*found, draft)
    return draft.artifact


def _forecast(
    series: Artifact, windows: Artifact, model: Artifact, spec: WindowSpec, *, store: Store, frame: Frame | None
) -> tuple[pd.DataFrame, pd.DataFrame] | None:
    """Every test forecast, and what its errors are measured against; None where there is no test window."""
    from lstm_model.evaluation.error_scales import make_empty_scales, measure_scales
    from lstm_model.evaluation.evaluate import tabulate_forecasts
    from lstm_model.forecast.bundle import load_bundle
    from lstm_model.windows.in_memory import load_windows
    from lstm_model.windows.segments import select_before_test

    test = _as_trained(load_windows(store.path(windows), "test"), series, model, store)
    if not len(test):
        return None
    table = tabulate_forecasts(load_bundle(store.path(model)), test, season=spec.season)
    before = select_before_test(series_of(series, store), spec, frame=frame)
    if frame is not None and before.empty:  # series that begin in the test: with the rest they are not scored
        return table, make_empty_scales()
    return table, measure_scales(before, season=spec.season)


def _save(table: pd.DataFrame, scale: pd.DataFrame, draft: Draft) -> None:
    table.to_parquet(draft.folder / FORECASTS, index=False, compression="zstd")
    scale.to_parquet(draft.folder / SCALES, index=False)
    draft.num_rows = len(table)


def _as_trained(windows: Windows, series: Artifact, model: Artifact, store: Store) -> Windows:
    """Static covariates encoded with the model's own categories: an older model does not know what came later."""
    card = read_model_card(store.path(model))
    names = name_covariates(card.covariates).static
    if not names or not len(windows):
        return windows
    from lstm_model.series.series_table import encode_static
    from lstm_model.windows.in_memory import gather_static

    known = card.covariates.static_categories
    rows = encode_static(store.path(series) / TABLE, names, known=known).rows
    return replace(windows, static_KS=gather_static(windows.unique_ids, rows))
