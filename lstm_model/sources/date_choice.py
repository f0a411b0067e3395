"""Choose among the readings of a column of dates: the one that is plausible, or an error with all written out."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lstm_model.contracts.findings import DataError, Where
from lstm_model.contracts.settings import Source
from lstm_model.sources.date_readings import NO_YEAR, STEP, Reading, to_int64
from lstm_model.timeline.timestamps import DAY_US

FILLED = 0.5
"""The share of a regular series whose steps follow each other; business days fill 4 of 7."""


class AmbiguousDatesError(DataError):
    """Dates have two plausible readings."""


@dataclass(frozen=True)
class Shape:
    """How a reading looks as a series: `filled` is the share of the steps of its grid that have a row."""

    ordered: bool
    repeats: bool
    filled: float

    def excludes(self, other: Shape) -> bool:
        """Return whether this one is so much more regular that the other is no plausible reading."""
        if self.repeats or (other.ordered and not self.ordered):
            return False
        if self.filled >= FILLED and (other.repeats or other.filled <= self.filled - 0.2):
            return True
        return self.ordered and not other.ordered and self.filled >= other.filled - 0.2


@dataclass(frozen=True)
class DateColumn:
    """A column of K different values in N rows."""

    different: pd.Series
    codes_N: NDArray[np.int64]
    ids: pd.Series | None
    where: Where
    source: Source
    numeric: bool

    def choose(self, readings: list[Reading]) -> tuple[Reading, dict[str, str], dict[str, Any]]:
        """Return the one plausible reading that fits all rows, why, and the settings that say it."""
        readings = self._keep_set(readings)
        fitting = [reading for reading in readings if reading.fits_K.all()]
        if not fitting:
            self._refuse_unreadable(readings)
        fitting = _drop_equal(fitting)
        rivals, shapes = fitting, {}
        if len(fitting) > 1:
            shapes = {reading.name: self._measure(reading) for reading in fitting}
            top = max(reading.level for reading in fitting)
            usual = [
                r for r in fitting if r.level == top and shapes[r.name].filled >= FILLED and not shapes[r.name].repeats
            ]
            rivals = usual or [r for r in fitting if r.level == top or shapes[r.name].ordered]
            rivals = [
                r for r in rivals if not any(shapes[o.name].excludes(shapes[r.name]) for o in rivals if o is not r)
            ]
        if len(rivals) != 1:
            self._ask(rivals or fitting)
        if NO_YEAR in rivals[0].name:
            self._refuse_without_year(rivals[0])
        self._check_swapped(rivals[0])
        if rivals[0].name.endswith("00s") and self.source.date_format is None and len(fitting) == 1:
            self._ask(fitting)
        return self._explain(rivals[0], [r for r in fitting if r is not rivals[0]])

    def _check_swapped(self, reading: Reading) -> None:
        """Refuse dates of which a spreadsheet program has swapped day and month wherever it could.

        Their days are the same, but the rows rise in the order of the file only if these are swapped back.
        """
        settings = (self.source.dayfirst, self.source.date_format)
        if reading.name not in ("day-month-year", "month-day-year") or settings != (None, None):
            return
        other = _swap_days_and_months(reading)
        plain, swapped = self._count_falls(reading.us_K), self._count_falls(other.us_K)
        if swapped * 2 >= plain:
            return
        row = int((other.us_K != reading.us_K).argmax())
        text = str(self.different.iloc[row])
        rising = "they follow each other" if not swapped else f"they do so {swapped} times"
        raise AmbiguousDatesError(
            f"{self.where(self._find_row(row))}: {text!r} is {_show(reading, row)} as {reading.name}, but then the "
            f"rows jump to and fro {plain} times; as {_show(other, row)}, with day and month swapped where both are at "
            f"most 12, {rising}. A spreadsheet program "
            "seems to have swapped them: export the dates as 2024-12-31; if they are right as they stand, set "
            f"source.dayfirst to {str(reading.name == 'day-month-year').lower()} (--dayfirst)"
        )

    def _count_falls(self, us_K: NDArray[np.int64]) -> int:
        """Return how often the time of a series turns against the order of most of its rows."""
        us_N = us_K[self.codes_N]
        series_N = np.zeros(len(us_N), np.int64) if self.ids is None else pd.factorize(self.ids)[0]
        order = np.argsort(series_N, kind="stable")
        steps = np.diff(us_N[order])[np.diff(series_N[order]) == 0]
        return int(min((steps < 0).sum(), (steps > 0).sum()))

    def _keep_set(self, readings: list[Reading]) -> list[Reading]:
        """Return the readings that `source.date_format` and `source.dayfirst` allow."""
        wanted, dayfirst = self.source.date_format, self.source.dayfirst
        if wanted is not None and "%" in wanted:
            times = pd.to_datetime(self.different.astype("str"), format=wanted, errors="coerce")
            us_K = to_int64(times.dt.tz_localize(None).dt.as_unit("us"))
            return [Reading(wanted, us_K, times.notna().to_numpy())]
        if wanted is not None:
            kept = [r for r in readings if wanted in (r.name, re.sub(r" \d\d00s$", "", r.name))]
            if not kept:
                names = ", ".join(repr(reading.name) for reading in readings) or "none that is known"
                raise DataError(
                    f"source.date_format is {wanted!r}, but {self.different.iloc[0]!r} can be read as {names}. Set one "
                    "of these, or a format such as '%d.%m.%Y %H:%M'"
                )
            return kept
        if dayfirst is not None:
            unwanted = "month-day-year" if dayfirst else "day-month-year"
            kept = [r for r in readings if not r.name.startswith(unwanted)]
            return kept or readings
        return readings

    def _measure(self, reading: Reading) -> Shape:
        """Return how regular the rows are under a reading."""
        us_N = reading.us_K[self.codes_N]
        series_N = np.zeros(len(us_N), np.int64) if self.ids is None else pd.factorize(self.ids)[0]
        by_series = np.argsort(series_N, kind="stable")
        steps = np.diff(us_N[by_series])[np.diff(series_N[by_series]) == 0]
        ordered = bool((steps >= 0).all() or (steps <= 0).all())
        by_time = np.lexsort((us_N, series_N))
        steps = np.diff(us_N[by_time])[np.diff(series_N[by_time]) == 0]
        return Shape(ordered, bool((steps == 0).any()), _measure_grid(np.unique(us_N), reading.name == STEP))

    def _find_row(self, index: int) -> int:
        return int((self.codes_N == index).argmax())

    def _refuse_unreadable(self, readings: list[Reading]) -> None:
        best = max(readings, key=lambda reading: int(reading.fits_K.sum()), default=None)
        bad = int((~best.fits_K).argmax()) if best else 0
        text, place = self.different.iloc[bad], self.where(self._find_row(bad))
        if best is None or not best.fits_K.any():
            raise DataError(
                f"{place}: received {text!r} as timestamp (column {self.different.name!r}), expected a timestamp "
                "such as 2024-03-31 14:00 or 2024-03-31T14:00+02:00"
            )
        good = self.different[best.fits_K].iloc[0]
        if not any(reading.fits_K[bad] for reading in readings):
            raise DataError(
                f"{place}: received {text!r} as timestamp, expected a timestamp such as {good!r}, as in other rows. "
                "Correct or remove the row"
            )
        first = {"day-month-year": "day first", "month-day-year": "month first"}.get(best.name, best.name)
        raise DataError(
            f"{place}: {text!r} is no date when read with the {first}, as {good!r} must be; set source.date_format "
            "(--date-format) or source.dayfirst (--dayfirst) to match the data, or write dates as 2024-12-31"
        )

    def _ask(self, rivals: list[Reading]) -> None:
        """Ask for the reading, with each written out on the first row that tells them apart."""
        rivals = sorted(rivals, key=lambda reading: -reading.level)[:4]
        told = [r.us_K for r in rivals]
        apart = int((told[0] != told[-1]).argmax()) if len(told) > 1 else 0
        text = str(self.different.iloc[apart])
        options = ", or ".join(f"{_show(r, apart)} (read as {r.name!r})" for r in rivals)
        dayfirst = {"day-month-year", "month-day-year"} <= {r.name for r in rivals}
        hint = ", or source.dayfirst (--dayfirst) to true or false" if dayfirst else ""
        raise AmbiguousDatesError(
            f"dates such as {text!r} are ambiguous: {self.where(self._find_row(apart))}: it may be {options}. Set "
            f"source.date_format (--date-format) to the right one{hint}, or write dates as 2024-12-31"
        )

    def _refuse_without_year(self, reading: Reading) -> None:
        raise DataError(
            f"{self.where(0)}: {self.different.iloc[0]!r} is a day without a year; write dates as 2024-12-31"
        )

    def _explain(self, reading: Reading, others: list[Reading]) -> tuple[Reading, dict[str, str], dict[str, Any]]:
        """Return the reading, the reason for it and the settings that fix it."""
        first = {"day-month-year": "the day comes first", "month-day-year": "the month comes first"}.get(reading.name)
        example = self._find_proof(reading, others)
        if first and not self.numeric and not self.different.iloc[example][:3].isdigit():
            swapped = {"day-month-year": "month-day-year", "month-day-year": "day-month-year"}[reading.name]
            if self.source.dayfirst is not None or self.source.date_format is not None:
                why = "set"
            elif any(other.name == swapped for other in others):
                why = f"{first}: read otherwise, dates such as {self.different.iloc[0]!r} would be irregular"
            else:
                why = f"{first}: {self.different.iloc[example]!r} has no other reading"
            return reading, {"dayfirst": why}, {"dayfirst": reading.name == "day-month-year"}
        in_full = not self.numeric and str(self.different.iloc[0])[:4].isdigit()
        usual = in_full and reading.name in ("year-month-day", "year-month")
        if reading.name == STEP or (usual and all(other.level < reading.level for other in others)):
            return reading, {}, {"date_format": STEP} if others and reading.name == STEP else {}
        why = f"{reading.name}: {str(self.different.iloc[0])!r} is {_show(reading, 0)}"
        if others:
            why += f"; as {others[0].name} it would be {_show(others[0], 0)}, which is less regular"
        if str(self.different.iloc[0]).lower().startswith("fy"):
            why += "; fiscal years are taken as calendar years"
        if self.source.date_format is not None:
            why = "set"
        return reading, {"columns.ds format": why}, {"date_format": reading.name} if others else {}

    def _find_proof(self, reading: Reading, others: Iterable[Reading]) -> int:
        """Return a value that the swapped order of day and month does not fit: one whose day is above 12."""
        days = (
            reading.us_K.astype("datetime64[us]").astype("datetime64[D]")
            - reading.us_K.astype("datetime64[us]").astype("datetime64[M]").astype("datetime64[D]")
        ).astype(np.int64)
        return int(days.argmax())


def _show(reading: Reading, index: int) -> str:
    if reading.name == STEP:
        return f"step {reading.us_K[index]}"
    stamp = pd.Timestamp(reading.us_K[index], unit="us")
    if NO_YEAR in reading.name:
        return f"{stamp:%d %B} of an unknown year"
    return f"{stamp:%Y-%m-%d}" if stamp == stamp.normalize() else f"{stamp:%Y-%m-%d %H:%M}"


def _swap_days_and_months(reading: Reading) -> Reading:
    """Return a reading with the day as month, and the month as day, where the day is at most 12."""
    moments = reading.us_K.astype("datetime64[us]")
    days, months = moments.astype("datetime64[D]"), moments.astype("datetime64[M]")
    day = (days - months.astype("datetime64[D]")).astype(np.int64)
    month = months.astype(np.int64) % 12
    other = months.astype("datetime64[Y]").astype("datetime64[M]") + np.minimum(day, 11)
    us_K = (other.astype("datetime64[D]") + month).astype("datetime64[us]").astype(np.int64) + reading.us_K % DAY_US
    return replace(reading, us_K=np.where(day < 12, us_K, reading.us_K))


def _drop_equal(readings: list[Reading]) -> list[Reading]:
    """Drop readings that give the same dates as a more usual one."""
    kept: list[Reading] = []
    for reading in sorted(readings, key=lambda reading: -reading.level):
        if reading.name == STEP or not any(np.array_equal(reading.us_K, other.us_K) for other in kept):
            kept.append(reading)
    return kept


def _measure_grid(times: NDArray[np.int64], integer: bool) -> float:
    """Return the share of the steps of a grid that ascending, different times fill; months are steps of their own."""
    if len(times) < 3:
        return 1.0
    if integer or (times % DAY_US).any():
        return _fill(times)
    days = times.astype("datetime64[us]").astype("datetime64[D]")
    months = days.astype("datetime64[M]")
    into, left = days - months.astype("datetime64[D]"), (months + 1).astype("datetime64[D]") - days
    if (into != into[0]).any() and (left != left[0]).any():
        return _fill(times)
    numbers = months.astype(np.int64)
    step = int(np.gcd.reduce(np.diff(numbers)))
    return _fill(numbers) if step in (1, 2, 3, 4, 6) or step % 12 == 0 else 0.0


def _fill(times: NDArray[np.int64]) -> float:
    """Return the share of a span that lies in steps of the commonest length."""
    steps, counts = np.unique(np.diff(times), return_counts=True)
    common = int(counts.argmax())
    return float(counts[common] * steps[common] / (times[-1] - times[0]))
