"""Describe the error envelope: what a forecaster's errors were in a test, to compare later errors with."""

from __future__ import annotations

import json

from pydantic import BaseModel, ConfigDict, JsonValue


class Envelope(BaseModel):
    """The realised errors of a test, in a few kilobytes; `lifecycle/envelope.py` measures them."""

    model_config = ConfigDict(frozen=True)

    period_steps: int
    """Steps of a period: a horizon, or a season where one is within reach."""
    horizon: int
    frequency: str
    error: float
    """Mean over the series of the absolute error / mase_scale."""
    by_step: list[float]
    """Error of each step of the horizon, 1 on average."""
    by_series: dict[str, float] | None
    """Error of each series; None in large panels."""
    coverage: dict[str, float]
    """Share inside the interval of each level, as in the columns: 80, 97_5."""
    num_series: int
    num_cutoffs: int
    num_periods: int
    log_error: list[float]
    """Of each period, the log of the ratio to what is usual."""
    miss: list[float]
    """Of each period, see `period_values`."""
    spread: float | None
    """Standard deviation of `log_error`; None where there are too few periods."""
    autocorrelation: float | None
    """Of `log_error`, at lag 1; None where there are too few periods."""


class BacktestEnvelope(BaseModel):
    """The envelope of a backtest, and the plan that it holds for, as `envelope.json` keeps them."""

    model_config = ConfigDict(frozen=True)

    plan: dict[str, JsonValue]
    """A `Plan` as JSON: one of another version is not comparable, but no error."""
    envelope: Envelope
    series_sha256: str

    def to_text(self) -> str:
        """Return what `envelope.json` holds."""
        return json.dumps(self.model_dump(), indent=1)
