"""Describe the clock of a source whose moments are kept in UTC, so that forecasts come back in it."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from pydantic import BaseModel, ConfigDict


class Clock(BaseModel):
    """The clock of the source's timestamps."""

    model_config = ConfigDict(frozen=True)

    zone: str
    """IANA zone, or a fixed offset such as UTC+02:00."""
    aware: bool
    """Whether timestamps carry their zone; if not, they are local times without one."""

    def convert(self, utc: datetime) -> datetime:
        """Return a moment in UTC, without its zone, as the source's clock showed it, without its zone."""
        offset = self.zone.removeprefix("UTC")
        zone = datetime.strptime(offset, "%z").tzinfo if offset[:1] in ("+", "-") else ZoneInfo(self.zone)
        return utc.replace(tzinfo=UTC).astimezone(zone).replace(tzinfo=None)


def show_moment(ds: str, clock: Clock | None = None) -> str:
    """Return a `ds` in the source's clock, without digits that say nothing: 2024-03-01 12:00, 2024-03-01, 17."""
    if clock is not None:
        ds = clock.convert(datetime.fromisoformat(ds)).isoformat()
    return ds.replace("T", " ").removesuffix(".000000").removesuffix(":00").removesuffix(" 00:00")
