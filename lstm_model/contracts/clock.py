"""Describe the clock of a source whose moments are kept in UTC, so that forecasts come back in it."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Clock(BaseModel):
    """The clock of the source's timestamps."""

    model_config = ConfigDict(frozen=True)

    zone: str
    """IANA zone, or a fixed offset such as UTC+02:00."""
    aware: bool
    """Whether timestamps carry their zone; if not, they are local times without one."""
