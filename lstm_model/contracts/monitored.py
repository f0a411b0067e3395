"""Describe what a look at the issued forecasts found, as `monitor.json` keeps it."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel

from lstm_model.contracts.findings import listed, number
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
    gone: list[str] = []
    """Series that the champion forecasts and the data no longer have."""
    ended: list[str] = []
    """Series that ended a horizon or more before the others."""
    retraining: str = ""
    """What was started, or the command that starts it."""
    plot: str | None = None

    def summary(self) -> str:
        lines = ["", f"{self.name}: {self.status}", self.finding, *self.describe_ended()]
        lines += [f"compared  with {self.compared_with}"] if self.compared_with else []
        lines += [f"retrain   {self.retraining}"] if self.retraining else []
        return "\n".join([*lines, *([f"plot      {self.plot}"] if self.plot else [])])

    def describe_ended(self) -> list[str]:
        """Return a sentence for the series that are gone, and one for those that ended."""
        kinds = ((self.gone, "no longer in the data"), (self.ended, "ended a horizon or more before the others"))
        return [f"{what}: {number(len(names), 'series', 'series')} ({listed(names)})" for names, what in kinds if names]
