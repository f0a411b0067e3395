"""Describe shards: parts of a panel, each of whole series.

A shard is a range of names of series in the order of the series table, so that shards end to end are the table.
"""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class IdRange(BaseModel):
    """The series whose names lie in [first, before), as texts compare; None: no bound."""

    model_config = ConfigDict(frozen=True)

    first: str | None = None
    before: str | None = None

    def holds(self, unique_id: str) -> bool:
        return (self.first is None or unique_id >= self.first) and (self.before is None or unique_id < self.before)

    def may_hold(self, least: str, greatest: str) -> bool:
        """Whether names from `least` to `greatest` may be among them."""
        return (self.before is None or least < self.before) and (self.first is None or greatest >= self.first)


class Frame(BaseModel):
    """What a shard must know of the whole panel, so that it is cut as the panel would be."""

    model_config = ConfigDict(frozen=True)

    end: str
    """The last observed `ds` of the panel: cutoffs are counted back from it."""
    frequency: str
    categories: dict[str, list[str]] = {}
    """Of each covariate that is text, those of all series."""
