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

COVERAGE_FLAW = 0.05
"""Share by which an interval may cover more or less than its level before that is called a flaw."""


class Check(BaseModel):
    """One condition of a promotion."""

    model_config = ConfigDict(frozen=True)

    name: str
    passed: bool
    detail: str
    flaw: str = ""
    """What is wrong although the rules let it pass, such as "too narrow"."""

    @property
    def word(self) -> str:
        """Return passed, FAILED, or what is wrong with it."""
        return self.flaw if self.passed and self.flaw else "passed" if self.passed else "FAILED"


class Decision(BaseModel):
    """What was decided, why, and the numbers; losses are scaled errors (MASE or RMSSE), None where there is none."""

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
    """Of the best baseline on these targets."""
    floor: str = "seasonal naive"
    """The name of that baseline."""
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
        return [(check.name, check.word, check.detail) for check in self.checks]

    def losses(self) -> list[tuple[str, str]]:
        """Who made which scaled error on the common targets; those without any are left out."""
        named = (
            ("challenger", self.challenger_loss),
            (f"champion {self.champion}", self.champion_loss),
            (self.floor, self.floor_loss),
        )
        return [(name, f"{loss:.4f}") for name, loss in named if loss is not None]
