"""Describe what a look at the issued forecasts found, as `monitor.json` keeps it."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel

Status = Literal["no forecasts", "waiting", "normal", "drift"]


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
    periods: list[dict[str, Any]] = []
    """One record a period, as JSON; the columns of coverage depend on the model's levels."""
    retraining: str = ""
    """What was started, or the command that starts it."""
    plot: str | None = None

    def summary(self) -> str:
        lines = ["", f"{self.name}: {self.status}", self.finding]
        lines += [f"compared  with {self.compared_with}"] if self.compared_with else []
        lines += [f"retrain   {self.retraining}"] if self.retraining else []
        return "\n".join([*lines, *([f"plot      {self.plot}"] if self.plot else [])])
