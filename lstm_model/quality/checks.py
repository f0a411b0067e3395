"""Check one thing each: take rows sorted by series and time, and raise, or return them with findings.

Shape suffixes: N rows of all series, K series.
"""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from lstm_model.contracts.findings import DataError, Finding, NothingLeftError, number
from lstm_model.quality.repair import MOST_ADDED, Rows, carry_forward, describe_longest_gap, find_history, find_worst
from lstm_model.timeline.events import offer_days
from lstm_model.timeline.frequency import Frequency
from lstm_model.timeline.grid import Grid
from lstm_model.timeline.time_zones import suspect_clock

LARGEST, SMALLEST = 1e15, 1e-15
"""Sizes for which float32 (1e-38 to 3e38) leaves room: a deviation needs squares (1e30, 1e-30), and sums of millions of
them. Within a series, what is small beside its largest value is only rounded."""
SMALLEST_COVARIATE = 1e-7
"""A covariate that deviates by less than 1e-8 is taken for constant."""
NARROW = 1e-12
"""A range smaller than this share of the level is taken for constant too: float64 has 16 digits."""
LARGEST_ROUNDING = 0.05
"""Of a covariate, as a share of its mean change."""
SAME_VALUE = 1e-14
"""Change of a covariate, as a share of its level, that means of equal values may differ by."""
REPEATED, FEW_REPEATS = 0.01, 3
"""Largest share, or number, of rows that repeat another and are dropped: more may be transactions."""
SUM_TOLERANCE = 1e-4
"""By which share rounding may part a total from the sum of its parts."""
LEADING = 0.1
"""Largest share of a series that is left out because a covariate begins later."""
_HARDLY = (
    "change by less than a million-millionth of their level, which the network takes for constant (float64 has 16 "
    "digits); subtract the level in the source to forecast the changes"
)
Checked = tuple[Rows, list[Finding]]


def replace_infinite(rows: Rows) -> Checked:
    """Replace infinite values by missing ones."""
    findings = []
    columns = dict(rows.covariates)
    for name, values in {"y": rows.y_N, **rows.covariates}.items():
        bad = np.isinf(values)
        if not bad.any():
            continue
        unique_id, _, total = find_worst(rows.count(bad), rows.ids)
        text = (
            f"{number(total, 'infinite value')} of {name!r} treated as missing; first at "
            f"{rows.describe(int(bad.argmax()))}"
        )
        findings.append(Finding(code="infinite", severity="repair", message=text, unique_id=unique_id, count=total))
        columns[name] = np.where(bad, np.nan, values)
    y = columns.pop("y", rows.y_N)
    return replace(rows, y_N=y, covariates=columns), findings


def check_magnitudes(rows: Rows, static: pd.DataFrame) -> None:
    """Refuse values that float32 cannot compute with: any too large, and series or covariates that are too small."""
    for name, values in {"y": rows.y_N, **rows.covariates}.items():
        size_N = np.abs(values)
        if (large_N := size_N > LARGEST).any():
            raise _explain_size(rows, name, values, large_N, f"at most {LARGEST:g} in size", "larger")
        if name == "y":
            most_N, least = np.fmax.reduceat(size_N, rows.first_K)[rows.series_N], SMALLEST
        else:
            most_N, least = np.fmax.reduce(size_N), SMALLEST_COVARIATE
        small_N = (size_N > 0) & (most_N < least)
        if small_N.any():
            raise _explain_size(rows, name, values, small_N, f"some of at least {least:g} in size", "smaller")
    for column in static.select_dtypes("number"):
        bad = static[column].abs() > LARGEST
        if bad.any():
            unique_id = str(bad.idxmax())
            raise DataError(
                f"static covariate {column!r} of series {unique_id!r}: received {static[column][unique_id]:g}, "
                f"expected a number of at most {LARGEST:g} in size. Correct it, or give it in a larger unit"
            )


def _explain_size(rows: Rows, name: str, values: np.ndarray, bad_N: np.ndarray, limit: str, unit: str) -> DataError:
    row, count = int(bad_N.argmax()), number(int(bad_N.sum()), "such value")
    return DataError(
        f"{rows.describe(row)}: received {values[row]:g} for {name!r} ({count}), expected values of {limit}: the "
        "network computes in float32, where squares and sums of others overflow or vanish. Correct the source, or "
        f"give {name!r} in a {unit} unit"
    )


def drop_duplicates(
    rows: Rows, *, unzoned: bool, find_apart: Callable[[], str] = str, count_equal: Callable[[], int | None]
) -> Checked:
    """Drop the few rows that repeat another; refuse two values for one timestamp, and many equal ones.

    Args:
        count_equal: returns how many rows of the source repeat another in all columns, None if that is unknown.
        find_apart: returns the columns that tell such rows apart, for the message.
        unzoned: timestamps are naive and their zone is not set, so that a change of clocks is looked for.
    """
    again = (np.diff(rows.series_N) == 0) & (np.diff(rows.ds_N) == 0)
    differs = np.zeros(len(again), dtype=bool)
    if again.any():
        for values in (rows.y_N, *rows.covariates.values()):
            known = ~np.isnan(values)
            both = known[1:] & known[:-1]
            either = both if rows.covariates else known[1:] | known[:-1]  # a covariate may stand in a row of its own
            differs |= again & either & (values[1:] != values[:-1])
    if unzoned and len(rows.ds_N):
        _check_clock(rows, differs)
    if not again.any():
        return rows, []
    apart = find_apart()
    if differs.any() or apart:  # rows of equal values may still be of two series
        bad = differs if differs.any() else again
        row, given = int(bad.argmax()), f"{apart} " if apart else ""
        raise DataError(
            f"{rows.describe(row)}: received the values {rows.y_N[row]:g} and {rows.y_N[row + 1]:g} for one "
            f"timestamp, expected one row ({number(int(bad.sum()), 'such pair')} in all). Remove the duplicates; where "
            "the rows belong together, set aggregate to sum, mean, last, first, max, min or count (--aggregate sum); "
            f"where they are different series, name the columns that tell them apart with --id-column {given}"
            f"(source.columns.unique_id){_offer_days(rows)}"
        )
    _check_repeats(rows, again, count_equal)
    unique_id, touched, total = find_worst(rows.count(np.append(False, again)), rows.ids)
    text = f"{number(total, 'duplicate row')} dropped in {number(touched, 'series', 'series')}; worst: {unique_id!r}"
    kept = _keep_known(rows, again)
    return kept, [Finding(code="duplicates", severity="repair", message=text, unique_id=unique_id, count=total)]


def _check_repeats(rows: Rows, again: np.ndarray, count_equal: Callable[[], int | None]) -> None:
    """Refuse equal values of one moment that may be transactions: many, or in rows that differ in another column."""
    known_N = ~np.isnan(rows.y_N)
    twice = again & known_N[1:] & known_N[:-1]
    repeats = int(twice.sum())
    if not repeats:
        return
    few = repeats <= max(FEW_REPEATS, REPEATED * len(rows.y_N))
    if few and ((equal := count_equal()) is None or equal >= repeats):
        return
    row = int(twice.argmax())
    why = "whose other columns differ" if few else f"{repeats / len(rows.y_N):.0%} of all"
    raise DataError(
        f"{rows.describe(row)}: the value {rows.y_N[row]:g} stands in more than one row "
        f"({number(repeats, 'such row')}, {why}): they may be transactions, of which each counts, or rows that were "
        "delivered twice. Set aggregate to "
        f"sum for transactions (--aggregate sum), or to last for repeated rows (--aggregate last){_offer_days(rows)}"
    )


def _keep_known(rows: Rows, again: np.ndarray) -> Rows:
    """Return one row for each timestamp: what one of its rows lacks, such as the target, another may know."""
    first = np.append(True, ~again)
    order = np.cumsum(first) - 1

    def take_known(values: np.ndarray) -> np.ndarray:
        kept = values[first]
        known = np.flatnonzero(~np.isnan(values))
        kept[order[known]] = values[known]
        return np.asarray(kept)

    columns = {name: take_known(values) for name, values in rows.covariates.items()}
    return replace(rows.take(first), y_N=take_known(rows.y_N), covariates=columns)


def _check_clock(rows: Rows, differs: np.ndarray) -> None:
    """Refuse local times without a zone, which can be recognised at the changes of clocks."""
    zone = suspect_clock(rows.ds_N, rows.ds_N[:-1][differs])
    if zone is None:
        return
    example = f", such as {rows.describe(int(differs.argmax()))}" if differs.any() else ""
    raise DataError(
        f"hours are repeated or missing exactly where clocks change in {zone}{example}: these are local times, and "
        f"days of 23 and 25 hours are no regular series. Set source.timezone to their zone (--timezone {zone}, for "
        "example); UTC if they are not local times after all"
    )


def trim(rows: Rows, future: Sequence[str]) -> Checked:
    """Drop rows before the first and after the last known target, except later rows with future covariates."""
    inside_N, _, last_K = find_history(rows)
    keep_N = inside_N.copy()
    if future:
        given = np.logical_or.reduce([~np.isnan(rows.covariates[name]) for name in future])
        keep_N |= given & (np.arange(len(keep_N)) > last_K[rows.series_N]) & (last_K[rows.series_N] >= 0)
    if keep_N.all():
        return rows, []
    unique_id, touched, total = find_worst(rows.count(~keep_N), rows.ids)
    text = (
        f"{number(total, 'row')} without a value before the first or after the last observation left out, in "
        f"{number(touched, 'series', 'series')}; most: {unique_id!r}"
    )
    return rows.take(keep_N), [Finding(code="trimmed", severity="info", message=text, unique_id=unique_id, count=total)]


def drop_short(rows: Rows, horizon: int | None) -> Checked:
    """Drop series with fewer than horizon + 2 observations; refuse the data when none remains."""
    limit = (horizon or 1) + 2
    observed_K = rows.count(~np.isnan(rows.y_N))
    keep_K = observed_K >= limit
    rule = f"fewer than horizon + 2 = {limit} observations" if horizon else f"fewer than {limit} observations"
    if keep_K.all():
        return rows, []
    longest = int(observed_K.argmax())
    if not keep_K.any():
        most = int(observed_K[longest])
        who = f"all {len(keep_K):,} series have" if len(keep_K) > 1 else "the only series has"
        fix = f", or set the horizon to {most - 2} at most" if horizon and most > 2 else ""
        raise NothingLeftError(
            f"no series can be used: {who} {rule}; the longest, {rows.ids[longest]!r}, has {number(most, 'value')}. "
            f"Bring a longer history{fix}",
            code="too_short",
            count=len(keep_K),
        )
    shortest = int(observed_K.argmin())
    count = int((~keep_K).sum())
    text = (
        f"{number(count, 'series', 'series')} excluded: {rule}; the shortest, {rows.ids[shortest]!r}, has "
        f"{observed_K[shortest]}"
    )
    finding = Finding(
        code="too_short", severity="warning", message=text, unique_id=str(rows.ids[shortest]), count=count
    )
    return rows.select(keep_K), [finding]


def place_on_grid(rows: Rows, frequency: str, hint: str) -> tuple[Grid, np.ndarray, list[Finding]]:
    """Return the grid of the frequency and the step of each row on it; refuse a row between steps."""
    _check_span(rows, frequency)
    grid = Grid.fit(frequency, rows.ds_N, rows.first_K)
    step_N, off_N = grid.steps(rows.series_N, rows.ds_N)
    twice = np.append(False, (np.diff(rows.series_N) == 0) & (np.diff(step_N) == 0)) & ~off_N
    if off_N.any() or twice.any():
        _raise_irregular(rows, frequency, off_N, twice, hint)
    moved = grid.timestamps(rows.series_N, step_N) != rows.ds_N
    if not moved.any():
        return grid, step_N, []
    row = int(moved.argmax())
    unique_id, _, total = find_worst(rows.count(moved), rows.ids)
    text = (
        f"{number(total, 'timestamp')} moved to the {grid.inside} of their period (frequency {frequency}); first: "
        f"{rows.describe(row)}"
    )
    return grid, step_N, [Finding(code="moved", severity="info", message=text, unique_id=unique_id, count=total)]


def _check_span(rows: Rows, frequency: str) -> None:
    """Refuse timestamps so far apart that the index of a calendar, which has no fixed step, would be too long."""
    parsed = Frequency(frequency)
    if parsed.step is not None:
        return
    first, last = int(rows.ds_N.argmin()), int(rows.ds_N.argmax())
    steps = (int(rows.ds_N[last]) - int(rows.ds_N[first])) // parsed.mean_step
    if steps > MOST_ADDED:
        raise DataError(
            f"about {steps:,} steps of {frequency} lie between {rows.describe(first)}, and {rows.describe(last)}; "
            f"{MOST_ADDED:,} at most are supported. Correct the timestamp that is wrong, or set frequency"
        )


def _raise_irregular(rows: Rows, frequency: str, off_N: np.ndarray, twice: np.ndarray, hint: str) -> None:
    bad = off_N | twice
    unique_id, touched, total = find_worst(rows.count(bad), rows.ids)
    row = int((bad & (rows.ids[rows.series_N] == unique_id)).argmax())
    before = f" after {rows.show_timestamp(row - 1)}" if row and rows.series_N[row - 1] == rows.series_N[row] else ""
    closed = ", which say that this moment is closed" if Frequency(frequency).calendar and off_N[row] else ""
    way_out = _offer_days(rows) or (
        "; to sum up the rows of each step, set frequency and aggregate (such as --frequency D --aggregate sum)"
    )
    raise DataError(
        f"irregular timestamps in {number(touched, 'series', 'series')} ({number(total, 'row')}): series "
        f"{unique_id!r} has {rows.show_timestamp(row)}{before}, expected steps of {frequency}{hint}{closed}. Round the "
        f"rows to regular steps, or set frequency{way_out}"
    )


def _offer_days(rows: Rows) -> str:
    return "" if rows.integer else offer_days(rows.ds_N)


def offer_zero(rows: Rows) -> str:
    """Return the words that offer to take absent steps as zero, where the data are numbers of things."""
    known = rows.y_N[~np.isnan(rows.y_N)]
    if not len(known) or known.min() < 0 or (known % 1 != 0).any():
        return ""
    return (
        ". The values are whole numbers, as of things that are sold or counted: if a step without a row means that "
        "there were none, set missing to zero (--missing zero)"
    )


def check_missing_share(rows: Rows, step_N: np.ndarray, limit: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the missing steps and all steps of each series between its first and last observation, K each.

    Raises:
        DataError: more than `limit` of a series is missing.
    """
    missing_K, length_K = count_missing_steps(rows, step_N)
    share_K = missing_K / length_K
    if share_K.max() > limit:
        index = int(share_K.argmax())
        _, first_K, last_K = find_history(rows)
        few = (share_K > limit).mean() < 0.5
        events = "; of single events, set frequency and aggregate (such as --frequency D --aggregate sum)"
        if few:
            way_out = "; it may be of another frequency than most: then bring it in a source of its own"
        else:
            way_out = _offer_days(rows) or f"{events}{offer_zero(rows)}"
        raise DataError(
            f"series {rows.ids[index]!r}: {missing_K[index]:,} of its {length_K[index]:,} steps "
            f"({share_K[index]:.0%}) from "
            f"{rows.show_timestamp(int(first_K[index]))} to {rows.show_timestamp(int(last_K[index]))} are missing, "
            f"more than advanced.window.max_missing_share = {limit:g} ({int((share_K > limit).sum()):,} such series); "
            f"{describe_longest_gap(rows, step_N, index)}. Check the frequency and the timestamps, raise the limit, "
            f"or set missing to drop_series{way_out}"
        )
    return missing_K, length_K


def count_missing_steps(rows: Rows, step_N: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the missing steps and all steps of each series' history, K each."""
    _, first_K, last_K = find_history(rows)
    length_K = step_N[last_K] - step_N[first_K] + 1
    return length_K - rows.count(~np.isnan(rows.y_N)), length_K


def find_constant(rows: Rows) -> list[Finding]:
    """Warn of series that never change, or hardly: they teach nothing, and their scaled errors are undefined."""
    first_K = rows.first_K
    high_K, low_K = np.fmax.reduceat(rows.y_N, first_K), np.fmin.reduceat(rows.y_N, first_K)
    narrow_K = high_K - low_K < NARROW * np.maximum(np.abs(high_K), np.abs(low_K))
    kinds = {
        "constant": (high_K == low_K, "never change", "always"),
        "narrow": (narrow_K & (high_K > low_K), _HARDLY, "about"),
    }
    findings = []
    for code, (flat_K, what, always) in kinds.items():
        if flat_K.any():
            index, count = int(flat_K.argmax()), int(flat_K.sum())
            text = (
                f"{number(count, 'series', 'series')} {what}; first: {rows.ids[index]!r}, {always} "
                f"{rows.y_N[first_K[index]]:g}"
            )
            findings.append(
                Finding(code=code, severity="warning", message=text, unique_id=str(rows.ids[index]), count=count)
            )
    return findings


def find_rounded_covariates(rows: Rows) -> list[Finding]:
    """Warn of covariates that change by so little beside their level that float32 rounds their changes."""
    findings = []
    for name in rows.covariates.keys() - rows.texts.keys():
        values_N = rows.covariates[name]
        step_N = np.abs(np.diff(values_N, prepend=np.nan))
        step_N[rows.first_K] = np.nan
        changes_N = step_N[step_N > SAME_VALUE * np.abs(values_N)]
        with np.errstate(over="ignore"):  # magnitudes are checked elsewhere
            rounding_N = np.nan_to_num(np.abs(values_N - values_N.astype(np.float32)))
        if len(changes_N) and rounding_N.max() > changes_N.mean() * LARGEST_ROUNDING:
            row = int(rounding_N.argmax())
            text = (
                f"covariate {name!r} changes by so little beside its level, such as {values_N[row]:.15g} at "
                f"{rows.describe(row)}, that float32, in which the network reads it, rounds the changes; subtract the "
                "level in the source"
            )
            findings.append(Finding(code="rounded", severity="warning", message=text))
    return findings


def find_total(rows: Rows) -> list[Finding]:
    """Warn of a series that is the sum of all others at every moment: it counts each of them twice."""
    if rows.num_series < 3:
        return []
    known_N = ~np.isnan(rows.y_N)
    sum_K = np.bincount(rows.series_N[known_N], rows.y_N[known_N], rows.num_series)
    total = sum_K.sum()
    candidates = np.flatnonzero((sum_K != 0) & np.isclose(2 * sum_K, total, rtol=SUM_TOLERANCE))
    if len(candidates) != 1:
        return []
    moments, at_N = np.unique(rows.ds_N, return_inverse=True)
    sum_T = np.bincount(at_N[known_N], rows.y_N[known_N], len(moments))
    own_N = known_N & (rows.series_N == candidates[0])
    if not np.isclose(2 * rows.y_N[own_N], sum_T[at_N[own_N]], rtol=SUM_TOLERANCE).all():
        return []
    name = str(rows.ids[candidates[0]])
    text = (
        f"series {name!r} is the sum of the {number(rows.num_series - 1, 'other series', 'other series')} at every "
        "moment, so all counts twice in training and scores. Leave it out in the source, unless it is to be forecast"
    )
    return [Finding(code="total", severity="warning", message=text, unique_id=name)]


def find_similar_names(ids: np.ndarray) -> list[Finding]:
    """Warn of names of series that differ in case, blanks or Unicode forms only: they stay series of their own."""
    forms = Counter(map(_fold, ids))
    alike = [name for name in ids if forms[_fold(name)] > 1] if len(forms) < len(ids) else []
    if not alike:
        return []
    pair = [name for name in alike if _fold(name) == _fold(alike[0])][:2]
    text = (
        f"{number(len(alike), 'series', 'series')} have names that differ from another in case, blanks or Unicode form "
        f"only, such as {pair[0]!a} and {pair[1]!a}; they are kept apart. Mend the source if they are one"
    )
    return [Finding(code="similar_names", severity="warning", message=text, unique_id=str(pair[0]), count=len(alike))]


def _fold(name: str) -> str:
    return "".join(unicodedata.normalize("NFKC", name).casefold().split())


def trim_leading_holes(rows: Rows, names: Sequence[str]) -> Checked:
    """Leave out the first rows of a series, a tenth at most, in which a covariate has no value yet, as means of the
    last days have none."""
    findings = []
    for name in names:
        known = ~np.isnan(rows.covariates[name])
        place = np.arange(len(known))
        first_K = np.full(rows.num_series, len(known))
        np.minimum.at(first_K, rows.series_N[known], place[known])
        hole_N = place < first_K[rows.series_N]
        size_K = np.bincount(rows.series_N, minlength=rows.num_series)
        short_K = rows.count(hole_N) <= LEADING * size_K
        hole_N &= short_K[rows.series_N]
        if not hole_N.any():
            continue
        unique_id, touched, total = find_worst(rows.count(hole_N), rows.ids)
        text = (
            f"{number(total, 'row')} left out at the beginning of {number(touched, 'series', 'series')}, where "
            f"covariate {name!r} has no value yet; most: {unique_id!r}"
        )
        findings.append(
            Finding(code="leading_hole", severity="warning", message=text, unique_id=unique_id, count=total)
        )
        rows = rows.take(~hole_N)
    return rows, findings


def fill_past_covariates(rows: Rows, names: Sequence[str], history_N: np.ndarray) -> Checked:
    """Fill gaps of the history with the last known value: a line to the next would reveal the future.

    Those of a text stay, and are none of its categories: an empty cell may well say that there was none.
    """
    columns, findings = dict(rows.covariates), []
    for name in names:
        gaps = np.isnan(columns[name]) & history_N
        if not gaps.any():
            continue
        how = "taken as none of its categories" if name in rows.texts else "filled with the last one known"
        if name not in rows.texts:
            columns[name] = carry_forward(columns[name], np.flatnonzero(gaps), rows.series_N)
            void = np.isnan(columns[name]) & history_N
            if void.any():
                raise DataError(
                    f"past covariate {name!r} has no value yet at {rows.describe(int(void.argmax()))} "
                    f"({number(int(void.sum()), 'such step')} in all), "
                    "and later ones would tell of the future. Give a value from the first observation on, or leave "
                    "the column out"
                )
        unique_id, touched, total = find_worst(rows.count(gaps), rows.ids)
        text = (
            f"{number(total, 'missing value')} of the past covariate {name!r} {how}, in "
            f"{number(touched, 'series', 'series')}; most: {unique_id!r}"
        )
        findings.append(
            Finding(code="past_covariate", severity="repair", message=text, unique_id=unique_id, count=total)
        )
    return replace(rows, covariates=columns), findings


def check_future_covariates(rows: Rows, names: Sequence[str], history_N: np.ndarray) -> None:
    """Refuse a future covariate with a gap: it would not be known ahead either."""
    for name in names:
        gaps = np.isnan(rows.covariates[name])
        if gaps.any():
            row = int(gaps.argmax())
            part = "the history" if history_N[row] else "the steps after the last observation"
            none = " (where there is none, write a text that says so, such as none)" if name in rows.texts else ""
            raise DataError(
                f"future covariate {name!r} is missing in {part}: {rows.describe(row)} "
                f"({number(int(gaps.sum()), 'value')} in all). Give it for every step{none}, with an "
                "empty y where the target is missing, or declare it in covariates.past"
            )


def collect_static(table: pd.DataFrame, rows: Rows, order: np.ndarray, names: Sequence[str]) -> pd.DataFrame:
    """Return one value a series of each static covariate, indexed by series.

    Raises:
        DataError: two values, or none, in one series.
    """
    result = pd.DataFrame(index=pd.Index(rows.ids, name="unique_id"))
    for name in names:
        column = table[name]
        codes, values = pd.factorize(column)
        codes = codes[order]
        known = np.flatnonzero(codes >= 0)
        place = np.searchsorted(rows.series_N[known], np.arange(rows.num_series))
        own_K = codes[np.append(known, 0)[np.minimum(place, len(known))]]
        lacking = np.bincount(rows.series_N[known], minlength=rows.num_series) == 0
        if lacking.any():
            raise DataError(
                f"static covariate {name!r} has no value in series {rows.ids[int(lacking.argmax())]!r}; give one "
                "in any of its rows"
            )
        other = (codes >= 0) & (codes != own_K[rows.series_N])
        if other.any():
            row = int(other.argmax())
            raise DataError(
                f"static covariate {name!r} changes within {rows.describe(row)}: received {values[codes[row]]!r} after "
                f"{values[own_K[rows.series_N[row]]]!r}, expected one value a series. Declare it in "
                "covariates.past or covariates.future"
            )
        taken = pd.Series(values.take(own_K) if isinstance(values, pd.Index) else values[own_K], index=result.index)
        numeric = pd.api.types.is_numeric_dtype(column.dtype)
        result[name] = taken.astype("float64" if numeric else "str")
    return result
