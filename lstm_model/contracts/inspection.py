"""Describe what was read from a source, before anything is made of it."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field

from lstm_model.contracts.clock import Clock
from lstm_model.contracts.findings import Finding
from lstm_model.contracts.profile import Profile

Role = Literal["series", "time", "target", "one series", "step", "static", "past", "future", "ignored", "unknown"]


class ColumnRole(BaseModel):
    """A column of the source."""

    name: str
    kind: str
    """Kind of its values: time, clock, integer, number, text, nested or empty."""
    role: Role
    """one series: its values are a series (wide_columns); step: its values are one step of all series (wide_rows)."""
    reason: str = ""


class SeriesSpan(BaseModel):
    """One series as it was read."""

    unique_id: str
    first: str
    """Timestamp of its first value."""
    last: str
    """Timestamp of its last value."""
    values: int
    missing: int | None
    """Steps without a value between the first and the last one; None where the series are not regular."""
    longest_gap: int | None
    """Steps of the longest part without a value."""
    zeros: int
    ahead: int
    """Rows after the last value, which carry future covariates."""


class CovariateReach(BaseModel):
    """How far a covariate is known."""

    name: str
    role: Role
    values: str
    """What it holds: a range of numbers, or its texts."""
    known: str


class Inferred(BaseModel):
    """A setting, its value, and why."""

    setting: str
    value: str
    reason: str


class Prospect(BaseModel):
    """Whether a flow will work with these data."""

    flow: Literal["retrain", "forecast"]
    works: bool
    reason: str


class Inspection(BaseModel):
    """What was read from a source; what comes after an error is empty."""

    source: str
    files: dict[str, int] = {}
    """Rows of each file."""
    columns: list[ColumnRole] = []
    reading: list[Inferred] = []
    """How the source was read."""
    profile: Profile | None = None
    clock: Clock | None = Field(None, exclude=True)
    """The source's own, if the series are in UTC instead."""
    num_series: int = 0
    series: list[SeriesSpan] = []
    """The first ones, see `MOST_SERIES`, and totals of all in `total`."""
    total: SeriesSpan | None = None
    header: list[str] = []
    first_rows: list[list[str]] = []
    last_rows: list[list[str]] = []
    covariates: list[CovariateReach] = []
    choices: list[Inferred] = []
    """What retrain will choose."""
    findings: list[Finding] = []
    errors: list[str] = Field(default_factory=list)
    prospects: list[Prospect] = []

    @property
    def readable(self) -> bool:
        """Return whether the source was read."""
        return not self.errors
