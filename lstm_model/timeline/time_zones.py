"""Make local clocks with days of 23 and 25 hours regular in UTC; ask for the zone where it is not named."""

from __future__ import annotations

from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import numpy as np
import pandas as pd

from lstm_model.contracts.clock import Clock
from lstm_model.contracts.findings import DataError, Finding, number
from lstm_model.timeline.timestamps import same_time_of_day

HOUR_US = 3_600_000_000
# One zone for each way in which clocks change today; the message offers it as an example only.
CLOCKS = ("Europe/Berlin", "Europe/London", "Europe/Athens", "America/New_York", "Australia/Sydney", "Pacific/Auckland")


def to_regular_clock(
    table: pd.DataFrame, timezone: str | None, *, by_days: bool = False
) -> tuple[pd.DataFrame, list[Finding], str]:
    """Make `ds` naive: UTC where a day can have 23 hours, local times for daily and longer steps.

    Args:
        table: `unique_id`, `ds`, `y`, ... in the order of the source, which tells the two 02:30 of autumn apart.
        timezone: of the source's clocks.
        by_days: whether its rows will be added up by days, which begin at local midnight.

    Returns:
        The table, findings, and the reason.

    Raises:
        DataError: unknown zone, local times that do not exist, an hour that occurs three times, or days of no named
            clock.
    """
    if table["ds"].dtype.kind == "i":
        return table, [], "integer steps"
    _check_zone(timezone)
    if isinstance(table["ds"].dtype, pd.DatetimeTZDtype):
        return _from_instants(table, timezone, by_days=by_days)
    if timezone is None:
        return table, [], "timestamps carry no zone; taken as they are"
    if by_days or same_time_of_day(table["ds"]):
        return table, [], "daily or longer: local dates"
    return _from_local(table, timezone)


def find_clock(ds: pd.Series, timezone: str | None) -> Clock | None:
    """Return the clock of timestamps that `to_regular_clock` converts to UTC; None if it takes them as they are."""
    aware = isinstance(ds.dtype, pd.DatetimeTZDtype)
    if ds.dtype.kind == "i" or (timezone is None and not aware):
        return None
    local = ds.dt.tz_convert(timezone) if aware and timezone else ds
    if same_time_of_day(local.dt.tz_localize(None) if aware else local):
        return None
    return Clock(zone=timezone or str(ds.dt.tz), aware=aware)


def add_source_clock(table: pd.DataFrame, clock: Clock | None) -> pd.DataFrame:
    """Return forecasts with `cutoff` and `ds` in the source's clock, and with `cutoff_utc` and `ds_utc` beside them."""
    if clock is None:
        return table
    utc = {f"{name}_utc": table[name] for name in ("cutoff", "ds")}
    local = {name: to_local(table[name], clock) for name in ("cutoff", "ds")}
    place = list(table.columns).index("ds") + 1
    return pd.concat([table.iloc[:, :place].assign(**local), pd.DataFrame(utc), table.iloc[:, place:]], axis=1)


def to_local(utc: pd.Series, clock: Clock) -> pd.Series:
    """Return moments in UTC, without their zone, in the source's clock."""
    local: pd.Series = utc.dt.tz_localize("UTC").dt.tz_convert(clock.zone)
    wall: pd.Series = local.dt.tz_localize(None)
    return local if clock.aware else wall


def to_wall_time(table: pd.DataFrame, clock: Clock | None) -> pd.DataFrame:
    """Return a table with `ds`, and `cutoff` where it has one, as the source's clocks showed them: for a person."""
    if clock is None:
        return table
    wall = clock.model_copy(update={"aware": False})
    return table.assign(**{name: to_local(table[name], wall) for name in ("cutoff", "ds") if name in table})


def suspect_clock(ds_us: np.ndarray, conflicting_us: np.ndarray) -> str | None:
    """A zone whose change of clocks explains repeated or missing hours, else None.

    Args:
        ds_us: timestamps of the panel, naive, as microseconds.
        conflicting_us: those that occur twice in one series with different values.
    """
    hours = np.unique(ds_us // HOUR_US)
    conflicts = np.unique(conflicting_us // HOUR_US)
    # Only hours between two of the data, not every hour of the span: one mistyped year would make it millions.
    between = hours[np.isin(hours + 2, hours)] + 1
    present = np.isin(between, hours)
    for zone in CLOCKS:
        first, second = _readings(conflicts, zone)
        if len(conflicts) and (~np.isnat(first) & (first != second)).all():
            return zone
        jumps = np.isnat(_readings(between[~present], zone)[0])
        if jumps.any() and not np.isnat(_readings(between[present], zone)[0]).any():
            return zone
    return None


def _check_zone(timezone: str | None) -> None:
    if timezone is None:
        return
    try:
        ZoneInfo(timezone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise DataError(
            f"source.timezone {timezone!r} is not known; expected an IANA name such as Europe/Berlin or UTC"
        ) from None


def _from_instants(
    table: pd.DataFrame, timezone: str | None, *, by_days: bool
) -> tuple[pd.DataFrame, list[Finding], str]:
    """Make instants UTC, or local times where days begin by the source's clock.

    Raises:
        DataError: days are asked for, and no zone is set or named: an offset names none, and UTC is seldom the clock of
            a business.
    """
    local = table["ds"].dt.tz_convert(timezone) if timezone else table["ds"]
    wall = local.dt.tz_localize(None)
    are_dates = same_time_of_day(wall)
    if by_days and timezone is None and str(local.dt.tz) == "UTC" and not are_dates:
        raise DataError(
            f"rows with UTC offsets are added up by days, and {local.iloc[0]} can lie on one of two: where clocks show "
            "UTC, or where the rows come from. Set source.timezone (--timezone) to the zone whose days count, such as "
            "UTC or Europe/Berlin"
        )
    if by_days:
        return table.assign(ds=wall), [], f"added up by days of {local.dt.tz}: local times"
    if are_dates:
        return table.assign(ds=wall), [], f"daily or longer: dates of {local.dt.tz}"
    utc = table["ds"].dt.tz_convert("UTC").dt.tz_localize(None)
    return table.assign(ds=utc), [], "timestamps with a zone: UTC, in which every day has 24 hours"


def _readings(hours: np.ndarray, zone: str) -> tuple[np.ndarray, np.ndarray]:
    """Local hours since 1970 in UTC, as `_find_readings` gives them."""
    return _find_readings(pd.DatetimeIndex((hours * HOUR_US).astype("datetime64[us]")), zone)


def _find_readings(times: pd.DatetimeIndex, zone: str) -> tuple[np.ndarray, np.ndarray]:
    """Local times in UTC, as the first and as the second of a repeated hour; NaT where no clock shows the time."""
    before, after = (
        times.tz_localize(zone, ambiguous=np.full(len(times), dst), nonexistent="NaT")
        .tz_convert("UTC")
        .tz_localize(None)
        for dst in (True, False)
    )
    return before.to_numpy(), after.to_numpy()


def _from_local(table: pd.DataFrame, timezone: str) -> tuple[pd.DataFrame, list[Finding], str]:
    codes, unique = pd.factorize(table["ds"])
    first, second = _find_readings(pd.DatetimeIndex(unique), timezone)
    table, codes, findings = _without_skipped(table, codes, np.isnat(first)[codes], timezone)
    utc = first[codes]
    rows = np.flatnonzero((first != second)[codes] & ~np.isnat(utc))
    if len(rows):
        nth = _nth_reading(table, rows, timezone)
        utc[rows[nth == 1]] = second[codes[rows[nth == 1]]]
        twice = int((nth == 1).sum())
        if twice:
            text = (
                f"{number(twice, 'row')} in the hour that {timezone} clocks show twice in autumn: told apart by "
                "their order"
            )
            findings.append(Finding(code="repeated_hour", severity="info", message=text, count=twice))
    return (
        table.assign(ds=utc.astype("datetime64[us]")),
        findings,
        f"local times of {timezone}: converted to UTC, in which every day has 24 hours",
    )


def _nth_reading(table: pd.DataFrame, rows: np.ndarray, timezone: str) -> np.ndarray:
    """0 for the first and 1 for the second time that a local time occurs in its series, for some rows of the table."""
    pairs = table.iloc[rows].groupby(["unique_id", "ds"], sort=False)["ds"]
    nth, size = pairs.cumcount().to_numpy(copy=True), pairs.transform("size").to_numpy()
    if not nth.any():
        return nth
    twice = rows[nth == 1]
    if (nth > 1).any():
        example = table.iloc[rows[int((nth > 1).argmax())]]
        raise DataError(
            f"series {example['unique_id']!r} has more than two rows at {example['ds']}, a local time that {timezone} "
            "clocks show twice; remove the duplicates, or give timestamps with their UTC offset"
        )
    series_N, back_K, forth_K = _directions(table)
    # A change of clocks turns the order of time round once in either direction.
    changes = table["ds"].iloc[twice].dt.date.nunique()
    mixed = (np.minimum(back_K, forth_K) > changes)[series_N[twice]]
    if mixed.any():
        example = table.iloc[twice[int(mixed.argmax())]]
        raise DataError(
            f"series {example['unique_id']!r} has two rows at {example['ds']}, a local time that {timezone} clocks "
            "show "
            "twice, and its rows are in no order of time, so the two hours cannot be told apart; sort the rows, or "
            "give timestamps with their UTC offset"
        )
    newest_first = (back_K > forth_K)[series_N[rows]] & (size == 2)
    nth[newest_first] = 1 - nth[newest_first]
    return nth


def _directions(table: pd.DataFrame) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The number of each row's series, and how often time runs back and forth between neighbouring rows of each."""
    series_N, names = pd.factorize(table["unique_id"])
    order = np.argsort(series_N, kind="stable")
    step = np.diff(table["ds"].to_numpy().astype(np.int64)[order])
    inside = np.diff(series_N[order]) == 0
    back_K, forth_K = (
        np.bincount(series_N[order][1:][inside & sign], minlength=len(names)) for sign in (step < 0, step > 0)
    )
    return series_N, back_K, forth_K


def _without_skipped(
    table: pd.DataFrame, codes: np.ndarray, skipped: np.ndarray, timezone: str
) -> tuple[pd.DataFrame, np.ndarray, list[Finding]]:
    """Drop empty rows at local times that clocks skip in spring; a value there means that the zone is wrong."""
    if not skipped.any():
        return table, codes, []
    filled = skipped & table["y"].notna().to_numpy()
    if filled.any():
        row = table.iloc[int(filled.argmax())]
        raise DataError(
            f"series {row['unique_id']!r}, {row['ds']}: {timezone} clocks skip this time, yet it has the value "
            f"{row['y']:g}. Set source.timezone (--timezone) to the zone of the timestamps: UTC, or a fixed one such "
            "as Etc/GMT-1 where winter time runs all year"
        )
    count = int(skipped.sum())
    text = f"{number(count, 'empty row')} at local times that {timezone} clocks skip in spring: dropped"
    finding = Finding(code="skipped_hour", severity="repair", message=text, count=count)
    return table[~skipped].reset_index(drop=True), codes[~skipped], [finding]
