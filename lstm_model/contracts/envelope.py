"""Describe the error envelope: what a forecaster's errors were in a test, to compare later errors with."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, JsonValue, model_validator

from lstm_model.contracts.settings import MOST_ALIAS

Count = Annotated[int, Field(ge=0, le=2**53)]
Share = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]


class Envelope(BaseModel):
    """The realised errors of a test, in a few kilobytes; `lifecycle/envelope.py` measures them."""

    model_config = ConfigDict(frozen=True, allow_inf_nan=False)

    period_steps: Annotated[int, Field(ge=1, le=1_000_000)]
    """Steps of a period: a horizon, or a season where one is within reach."""
    horizon: Annotated[int, Field(ge=1, le=10_000)]
    frequency: Annotated[str, Field(max_length=MOST_ALIAS)]
    error: Positive
    """Mean over the series of the absolute error / mase_scale."""
    by_step: list[Positive]
    """Error of each step of the horizon, 1 on average."""
    by_series: dict[str, Positive] | None
    """Error of each series; None in large panels."""
    coverage: dict[str, Share]
    """Share inside the interval of each level, as in the columns: 80, 97_5."""
    num_series: Count
    num_cutoffs: Count
    num_periods: Count
    log_error: list[float]
    """Of each period, the log of the ratio to what is usual."""
    miss: list[float]
    """Of each period, see `period_values`."""
    spread: Annotated[float, Field(ge=0)] | None
    """Standard deviation of `log_error`; None where there are too few periods."""
    autocorrelation: float | None
    """Of `log_error`, at lag 1; None where there are too few periods."""

    @model_validator(mode="after")
    def _check_lengths(self) -> Self:
        if len(self.by_step) != self.horizon or not len(self.log_error) == len(self.miss) == self.num_periods:
            raise ValueError("expected an error of each step of the horizon, and two facts of each period")
        return self


class BacktestEnvelope(BaseModel):
    """The envelope of a backtest, and the plan that it holds for, as `envelope.json` keeps them."""

    model_config = ConfigDict(frozen=True)

    plan: dict[str, JsonValue]
    """A `Plan` as JSON: one of another version is not comparable, but no error."""
    envelope: Envelope
    series_sha256: str
