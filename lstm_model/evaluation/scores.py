"""Summarise scores to keep, compare and report: total, by series, by step, and one headline."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import pandas as pd

from lstm_model.contracts.forecast_columns import COVERAGE
from lstm_model.contracts.score_records import (
    Headline,
    Metric,
    ScoreRecord,
    ScoreSummary,
    read_score_summary,
    write_score_summary,
)
from lstm_model.evaluation.baselines import ALL_BASELINES, INTERMITTENT, find_baselines

MODEL, MEAN = "lstm", "lstm_mean"
"""The median and the mean of the LSTM's forecast."""
MODELS = (MODEL, MEAN, *ALL_BASELINES)
NAMES = {MODEL: "LSTM", MEAN: "LSTM, mean", "tsb": "TSB"}
JUDGED = {"mase": MODEL, "rmsse": MEAN}
"""Which of the LSTM's forecasts a metric judges: the median has the least absolute error, the mean the least square."""
FEW_POINTS = 100
LEAST_TOLD = 0.01
"""A smaller part of error less is told as hardly any."""
SERIES_MEANS = ["smape", "mase", "rmsse"]
"""Scores free of units, which are averaged over series; the others are over points."""


@dataclass(frozen=True, eq=False)
class Scores:
    """Scores of the LSTM and of each baseline, on the same points.

    Columns of every table: model, count (points), mae, rmse, smape (percent), mase, rmsse, bias (sum of the forecasts
    beside that of the actual values: -0.1 is a tenth of the volume too little), pinball, wql, and for each level
    coverage-80 and width-80 (share covered and mean width of the interval; NaN for baselines).
    """

    headline: Headline
    total: pd.DataFrame
    """One row a model."""
    per_series: pd.DataFrame
    """unique_id and model; where all windows of a series are one."""
    per_step: pd.DataFrame
    """step (1..H) and model."""
    levels: tuple[float, ...]
    num_windows: int
    notes: list[str]
    """Remarks for the reader: series and targets that were left out, and scales that replace others."""

    def to_records(self) -> list[ScoreRecord]:
        """Return `total` as records."""
        return [ScoreRecord.model_validate(row) for row in self.total.to_dict(orient="records")]

    @property
    def beats_baseline(self) -> bool:
        return self.headline.beats_baseline

    def to_folder(self, folder: Path) -> None:
        """Write scores.json (headline, total, notes), per_series.parquet and per_step.parquet.

        The same scores give the same bytes.
        """
        folder.mkdir(parents=True, exist_ok=True)
        summary = ScoreSummary(
            headline=self.headline,
            total=self.to_records(),
            levels=self.levels,
            num_windows=self.num_windows,
            notes=self.notes,
        )
        write_score_summary(folder, summary)
        self.per_series.to_parquet(folder / "per_series.parquet", index=False)
        self.per_step.to_parquet(folder / "per_step.parquet", index=False)

    @classmethod
    def from_folder(cls, folder: Path) -> Self:
        """Read the files of `to_folder`.

        Raises:
            FileNotFoundError: one of its files is not there.
        """
        summary = read_score_summary(folder)
        total = [record.model_dump() for record in summary.total]
        numbers = {name: float for name in total[0] if name not in ("model", "count")}
        return cls(
            headline=summary.headline,
            total=pd.DataFrame(total).astype(numbers),
            per_series=pd.read_parquet(folder / "per_series.parquet"),
            per_step=pd.read_parquet(folder / "per_step.parquet"),
            levels=summary.levels,
            num_windows=summary.num_windows,
            notes=summary.notes,
        )


def find_models(columns: Iterable[object]) -> tuple[str, ...]:
    """Return the LSTM's forecasts and the baselines that a table has."""
    names = set(columns)
    return tuple(name for name in MODELS if name in names)


def measure_zero_share(scale: pd.DataFrame) -> float:
    """Return the share of zeros in the values that errors are scaled by, as a mean over series."""
    return float(scale["zero_share"].mean()) if "zero_share" in scale else 0.0


def choose_metric(zero_share: float) -> Metric:
    """Return what models are judged by: the mean where zeros are common, since a median of zero has no volume."""
    return "rmsse" if zero_share >= INTERMITTENT else "mase"


def summarise(
    cells: Iterable[pd.DataFrame],
    *,
    levels: Sequence[float],
    num_windows: int,
    notes: list[str],
    zero_share: float = 0.0,
) -> Scores:
    """Summarise cells as scores.

    Args:
        cells: of one model after another, so that those of all need not be in memory together: a row for each
            (unique_id, step) with model, count (points), size (mean |y|), mase_scale, rmsse_scale, and the means mae,
            mse, smape (share), bias, pinball, coverage-…, width-….
        levels: of the intervals.
        num_windows: that were scored.
        notes: for the reader.
        zero_share: of the values before the test, which decides what the headline judges by.
    """
    parts = [_summarise_model(one) for one in cells]
    total, per_series, per_step = (pd.concat(tables, ignore_index=True) for tables in zip(*parts, strict=True))
    return Scores(
        headline=write_headline(total, per_series, zero_share=zero_share),
        total=_sort_by_model(total, []),
        per_series=_sort_by_model(per_series, ["unique_id"]),
        per_step=_sort_by_model(per_step, ["step"]),
        levels=tuple(levels),
        num_windows=num_windows,
        notes=notes,
    )


def name_model(model: str) -> str:
    """Return the name of a model in words: LSTM, seasonal naive."""
    return NAMES.get(model, model.replace("_", " "))


def write_headline(total: pd.DataFrame, per_series: pd.DataFrame, *, zero_share: float = 0.0) -> Headline:
    """Judge the LSTM beside the best baseline, by the metric that fits the data."""
    metric = choose_metric(zero_share) if MEAN in set(total["model"]) else "mase"
    judged = JUDGED[metric]
    by_model = total.set_index("model")
    error = {str(model): float(value) for model, value in by_model[metric].items()}
    best = min(find_baselines(error), key=lambda name: error[name])
    own = per_series.pivot(index="unique_id", columns="model", values=metric)
    won, count = int((own[judged] < own[best]).sum()), int(by_model["count"][judged])
    sentences = [
        _write_verdict(error, best, metric),
        f"It does better than {name_model(best)} on {won} of {len(own)} series.",
        *_explain_metric(metric, by_model["bias"], zero_share),
        *([f"This rests on {count} points only, which chance may decide."] if count < FEW_POINTS else []),
    ]
    return Headline(
        verdict=" ".join(sentences),
        metric=metric,
        judged=judged,
        beats_seasonal_naive=error[judged] < error["seasonal_naive"],
        beats_baseline=error[judged] < error[best],
        best_baseline=best,
        error=error,
        skill=1 - error[judged] / error[best] if error[best] > 0 else None,
        series_won=won,
        num_series=len(own),
    )


def _write_verdict(error: dict[str, float], best: str, metric: Metric) -> str:
    own, name = JUDGED[metric], metric.upper()
    lstm, seasonal, least = (_format_error(error[model]) for model in (own, "seasonal_naive", best))
    if error[own] > error["seasonal_naive"]:
        closest = "" if best == "seasonal_naive" else f", and {least} of {name_model(best)}, the best baseline"
        return (
            f"The LSTM loses to seasonal naive: {name} {lstm} against {seasonal}{closest}. "
            "Repeating the last season forecasts better than this model; do not use it as it is."
        )
    if error[own] == error["seasonal_naive"]:
        return (
            f"The LSTM does not beat seasonal naive: both have {name} {lstm}. Repeating the last season does as well."
        )
    if error[own] >= error[best]:
        return (
            f"The LSTM does not beat {name_model(best)}, the best baseline: {name} {lstm} against {least} "
            f"(seasonal naive {seasonal})."
        )
    skill = 1 - error[own] / error[best]
    if skill < LEAST_TOLD:
        return (
            f"The LSTM is hardly better than {name_model(best)}, the best baseline: {name} {lstm} against {least} "
            f"(less than {LEAST_TOLD:.0%} less error)."
        )
    return (
        f"The LSTM beats every baseline: {name} {lstm} against {least} of {name_model(best)}, the best one "
        f"({skill:.0%} less error)."
    )


def _explain_metric(metric: Metric, bias: pd.Series[float], zero_share: float) -> list[str]:
    """Say by what the model is judged where that is not the usual, and what the median does to the volume."""
    if metric == "mase":
        return []
    shares = ", ".join(
        f"the {noun} {round(1 + bias[model], 2) + 0.0:.0%}" for noun, model in (("mean", MEAN), ("median", MODEL))
    )
    return [
        f"Judged by its mean forecast and the squared error, since {zero_share:.0%} of the values are zero and a "
        f"median would leave out sales to look good. Of the total volume, {shares} is forecast."
    ]


def _format_error(value: float) -> str:
    return f"{value:.3f}" if value < 100 else f"{value:.4g}"


def _pool_cells(cells: pd.DataFrame, by: list[str]) -> pd.DataFrame:
    """Return means over all points of each group: cells weighted by their number of points."""
    keys = ["unique_id", "step", "model", "mase_scale", "rmsse_scale"]
    means = [str(name) for name in cells if name not in (*keys, "count")]
    weighted = cells[means].mul(cells["count"], axis=0).assign(count=cells["count"])
    grouped = weighted.groupby([cells[name] for name in by], sort=False, observed=True)
    pooled = grouped.sum(min_count=1)
    pooled[means] = pooled[means].div(pooled["count"], axis=0)
    scale = (
        cells[["mase_scale", "rmsse_scale"]].groupby([cells[name] for name in by], sort=False, observed=True).first()
    )
    return pooled.join(scale).reset_index()


def _compute_scores(pooled: pd.DataFrame) -> pd.DataFrame:
    """Compute scores from mean losses, for groups within one series."""
    rmse = np.sqrt(pooled["mse"])
    return pooled.assign(
        rmse=rmse,
        smape=200 * pooled["smape"],
        mase=pooled["mae"] / pooled["mase_scale"],
        rmsse=rmse / pooled["rmsse_scale"],
        bias=pooled["bias"] / pooled["size"].where(pooled["size"] > 0),
        wql=2 * pooled["pinball"] / pooled["size"].where(pooled["size"] > 0),
    )


def _summarise_model(cells: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Return the scores of one model: in total, by series and by step."""
    per_series = _compute_scores(_pool_cells(cells, ["unique_id", "model"]))
    total = _average_series(cells, ["model"], of_series=per_series)
    return total, per_series, _average_series(cells, ["step", "model"], of_series=_compute_scores(cells))


def _average_series(cells: pd.DataFrame, by: list[str], *, of_series: pd.DataFrame) -> pd.DataFrame:
    """Average scores over series: points are pooled, and scores without units are means over series."""
    result = _compute_scores(_pool_cells(cells, by))
    means = of_series.groupby(by, sort=False, observed=True)[SERIES_MEANS].mean().reset_index()
    return result.drop(columns=SERIES_MEANS).merge(means, on=by)


def _sort_by_model(scores: pd.DataFrame, by: list[str]) -> pd.DataFrame:
    intervals = [name for name in scores if str(name).startswith((COVERAGE, "width-"))]
    columns = [*by, "model", "count", "mae", "rmse", *SERIES_MEANS, "bias", "pinball", "wql", *intervals]
    rank = scores["model"].map({name: i for i, name in enumerate(MODELS)})
    return scores.assign(rank=rank).sort_values([*by, "rank"], ignore_index=True)[columns]
