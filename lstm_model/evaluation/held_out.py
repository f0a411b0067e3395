"""Forecast the test windows of a dataset, which its model has not seen, and measure what the errors are scaled by."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

from lstm_model.contracts.bundle_card import name_covariates, read_model_card
from lstm_model.contracts.settings import WindowSpec
from lstm_model.contracts.shard import Frame
from lstm_model.contracts.windows_meta import EncodedCovariates
from lstm_model.evaluation.error_scales import make_empty_scales, measure_scales
from lstm_model.evaluation.evaluate import tabulate_forecasts
from lstm_model.forecast.bundle import load_bundle
from lstm_model.series.series_table import encode_static
from lstm_model.windows.in_memory import Windows, gather_static, load_windows
from lstm_model.windows.segments import select_before_test


@dataclass(frozen=True, eq=False)
class HeldOut:
    """The forecasts of a test beside the truth, and the scale of each series' errors."""

    table: pd.DataFrame
    """See `evaluate.tabulate_forecasts`."""
    scales: pd.DataFrame
    """See `error_scales.measure_scales`."""


def forecast_test(
    model: Path, windows: Path, table: Path, *, targets: pd.DataFrame, spec: WindowSpec, frame: Frame | None = None
) -> HeldOut | None:
    """Forecast the test windows of one dataset; return None if it has none.

    Args:
        model: the folder of the model.
        windows: the folder of the windows dataset.
        table: the series table that the windows were cut from.
        targets: unique_id, ds, y and observed of that table.
        spec: how the windows were cut.
        frame: of the panel, if the table is a shard of one.
    """
    known = read_model_card(model).covariates
    test = encode_as_trained(load_windows(windows, "test", covariates=known), table, known)
    if not len(test):
        return None
    before = select_before_test(targets, spec, frame=frame)
    forecasts = tabulate_forecasts(load_bundle(model), test, season=spec.season, history=before)
    if frame is not None and before.empty:  # all series of the shard begin in the test, and are not scored
        return HeldOut(forecasts, make_empty_scales())
    return HeldOut(forecasts, measure_scales(before, season=spec.season))


def encode_as_trained(windows: Windows, table: Path, covariates: EncodedCovariates) -> Windows:
    """Encode static covariates with the categories of the model, which does not know those that came later."""
    names = name_covariates(covariates).static
    if not names or not len(windows):
        return windows
    rows = encode_static(table, names, known=covariates.static_categories).rows
    return replace(windows, static_KS=gather_static(windows.unique_ids, rows))
