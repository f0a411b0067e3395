"""Describe the decision about a challenger, its reason and its numbers: for the bundle, the report and the UI."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

Verdict = Literal["promote", "reject", "defer"]
NOT_EVALUATED = (
    "This model has not been evaluated: the history is too short to keep a test. "
    "Nothing is known about how good its forecasts are."
)
"""What stands in place of a verdict on scores."""


class Check(BaseModel):
    """One condition of a promotion."""

    model_config = ConfigDict(frozen=True)

    name: str
    passed: bool
    detail: str


class Decision(BaseModel):
    """What was decided, why, and the numbers; losses are scaled errors, None where there is none."""

    model_config = ConfigDict(frozen=True)

    verdict: Verdict
    summary: str
    checks: tuple[Check, ...] = ()
    warnings: tuple[str, ...] = ()
    champion: str | None = None
    """Version of the bundle that it was compared with; None: the first model, or one that could not be compared."""
    challenger_loss: float | None = None
    champion_loss: float | None = None
    floor_loss: float | None = None
    improvement: float | None = None
    """1 - challenger / champion."""
    p_value: float | None = None
    num_cutoffs: int = 0
    """Cutoffs that do not overlap."""
    num_series: int = 0
    series_won: int = 0
    coverage: dict[str, dict[str, float]] = {}
    """By level in percent: share covered by challenger and champion."""
    first_target: str | None = None
    last_target: str | None = None

    def rows(self) -> list[tuple[str, str, str]]:
        """The checks as a table: name, passed or failed, detail."""
        return [(check.name, "passed" if check.passed else "FAILED", check.detail) for check in self.checks]

    def losses(self) -> list[tuple[str, str]]:
        """Who made which scaled error on the common targets; those without any are left out."""
        named = (
            ("challenger", self.challenger_loss),
            (f"champion {self.champion}", self.champion_loss),
            ("seasonal naive", self.floor_loss),
        )
        return [(name, f"{loss:.4f}") for name, loss in named if loss is not None]
