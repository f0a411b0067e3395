"""Tell whether future covariates are known through the horizon, as a forecast needs them."""

from __future__ import annotations

from typing import Any

import numpy as np

from lstm_model.contracts.findings import DataError
from lstm_model.series.series_table import SeriesRows
from lstm_model.timeline.frequency import Frequency


def is_known_ahead(series: SeriesRows, names: tuple[str, ...], *, horizon: int, frequency: str, end: Any) -> bool:
    """Return whether the future covariates of a series are known; False: it has ended and needs no forecast.

    Args:
        series: the rows of one series.
        names: of its future covariates.
        horizon: steps to forecast.
        frequency: of the steps.
        end: the last observed `ds` of the panel.

    Raises:
        DataError: they are not known, and the series goes on.
    """
    if not names:
        return True
    cut = int(np.flatnonzero(series.observed)[-1]) + 1
    given = series.future[cut : cut + horizon]
    unknown = np.pad(np.isnan(given), ((0, horizon - len(given)), (0, 0)), constant_values=True)
    if not unknown.any():
        return True
    ahead = Frequency(frequency).advance(np.repeat(series.ds[cut - 1], horizon), np.arange(1, horizon + 1))
    if not len(given) and ahead[-1] <= end:
        return False
    step = int(unknown.any(axis=1).argmax())
    name = names[int(unknown[step].argmax())]
    raise DataError(
        f"the future covariate {name!r} of series {series.unique_id!r} is not known at {show_ds(ahead[step])}; a "
        f"forecast of {horizon} steps after {show_ds(series.ds[cut - 1])} needs it through {show_ds(ahead[-1])}. "
        "Bring rows after the last observation, with an empty target"
    )


def show_ds(ds: Any) -> str:
    """Return a timestamp for a message."""
    return str(ds).replace("T", " ").removesuffix(".000000")
