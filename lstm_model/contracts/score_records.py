"""Describe the scores of a test or a backtest as records, and read and write the `scores.json` that holds them."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict

SCORES = "scores.json"

Metric = Literal["mase", "rmsse"]
"""What models are judged by: MASE, the absolute error of the median, or RMSSE, the squared error of the mean."""

Measure = Annotated[
    float | None, BeforeValidator(lambda value: None if isinstance(value, float) and math.isnan(value) else value)
]
"""A number of a table; None stands for NaN, which JSON does not have."""


class MeasureRecord(BaseModel):
    """Base of a table's row that has further columns for the levels of its model: `coverage-80`, `width-97_5`."""

    model_config = ConfigDict(frozen=True, extra="allow")
    __pydantic_extra__: dict[str, Measure]

    @property
    def by_level(self) -> dict[str, Measure]:
        """Return the columns that depend on the levels, in their order."""
        return self.__pydantic_extra__


class ScoreRecord(MeasureRecord):
    """The scores of one model or baseline; those of its intervals are None for a baseline."""

    model: str
    count: int
    """Points."""
    mae: float
    rmse: float
    smape: float
    """In percent."""
    mase: float
    rmsse: float
    bias: Measure = None
    """Sum of the forecasts beside that of the actual values, as a share of their size; None in early bundles too."""
    pinball: float
    wql: Measure
    """None if every target is zero."""


class FoldRecord(MeasureRecord):
    """One fold of a backtest: the MASE of the LSTM and of each baseline, those that only some data have included."""

    cutoff: str
    """The first one."""
    lstm: float
    naive: float
    seasonal_naive: float
    drift: float
    window_average: float
    last_week: Measure = None
    week_average: Measure = None
    years_before: Measure = None
    tsb: Measure = None
    lstm_mean: Measure = None
    count: int
    """Points."""


class Headline(BaseModel):
    """The verdict on the LSTM."""

    model_config = ConfigDict(frozen=True)

    verdict: str
    """One or two plain sentences."""
    beats_seasonal_naive: bool
    """Strictly better; a tie does not count."""
    beats_baseline: bool
    """Strictly better than the best baseline."""
    best_baseline: str
    metric: Metric
    judged: str
    """The forecast of the LSTM that the metric judges: `lstm`, the median, or `lstm_mean`."""
    error: dict[str, float]
    """By that metric, of each model, the baselines included."""
    skill: float | None
    """1 - error / error of the best baseline: 0.2 is 20 % less error. None if that baseline has no error at all."""
    series_won: int
    """Series on which the LSTM beats the best baseline."""
    num_series: int


class ScoreSummary(BaseModel):
    """The scores of a test in total, as `scores.json` keeps them; those by series and by step are beside it."""

    model_config = ConfigDict(frozen=True)

    headline: Headline
    total: list[ScoreRecord]
    """One record a model."""
    levels: tuple[float, ...]
    num_windows: int
    notes: list[str]
    """Remarks for the reader: series and targets that were left out, and scales that replace others."""


def write_score_summary(folder: Path, summary: ScoreSummary) -> None:
    """Write `scores.json`; equal scores give equal bytes."""
    text = json.dumps(summary.model_dump(), indent=1, ensure_ascii=False, allow_nan=False)
    (folder / SCORES).write_text(text + "\n", encoding="utf-8")


def read_score_summary(folder: Path) -> ScoreSummary:
    """Read `scores.json`.

    Raises:
        FileNotFoundError: it is not there.
    """
    return ScoreSummary.model_validate_json((folder / SCORES).read_bytes())
