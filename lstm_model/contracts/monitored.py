"""Describe what a look at the issued forecasts found, as `monitor.json` keeps it."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel

from lstm_model.contracts.score_records import MeasureRecord

Status = Literal["no forecasts", "waiting", "normal", "drift"]


class PeriodRecord(MeasureRecord):
    """The errors of one period of forecasts, as a ratio to those of the test; `sum …` are those of the charts."""

    error: float
    """1 is as in the test."""
    log_error: float
    miss: float
    """See `envelope.period_values`."""
    count: int
    """Points."""
    end: str
    """The last `ds`."""
    model_version: str
    counted: bool
    """Whether it is of the present champion."""


class Monitored(BaseModel):
    """What the monitor found, and what it did; `summary` is what the command line prints."""

    name: str
    status: Status | Literal["no champion", "no envelope"]
    finding: str
    """One or two plain sentences."""
    champion: str | None = None
    evidence: str | None = None
    """End of the period that raised the latest alarm."""
    compared_with: str = ""
    num_periods: int = 0
    """Of the present champion."""
    thresholds: dict[str, float] = {}
    periods: list[PeriodRecord] = []
    retraining: str = ""
    """What was started, or the command that starts it."""
    plot: str | None = None

    def summary(self) -> str:
        lines = ["", f"{self.name}: {self.status}", self.finding]
        lines += [f"compared  with {self.compared_with}"] if self.compared_with else []
        lines += [f"retrain   {self.retraining}"] if self.retraining else []
        return "\n".join([*lines, *([f"plot      {self.plot}"] if self.plot else [])])
