"""Name the columns of forecasts: `lo_80` and `hi_80` bound the central interval of level 0.8, `lo_97_5` that of 0.975.

Scores call a level the same: `coverage-80`, `width-97_5`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

BOUND = re.compile(r"(?:lo|hi)_(\d+(?:_\d+)?)")
COVERAGE = "coverage-"
"""Beginning of a column with the share of targets inside an interval."""


def name_level(level: float) -> str:
    """Return a level as column names have it: 0.8 gives 80, 0.975 gives 97_5."""
    return f"{round(100 * level, 4):g}".replace(".", "_")


def parse_level(name: str) -> float:
    """Return the level that a column calls so: 97_5 gives 0.975."""
    return round(float(name.replace("_", ".")) / 100, 6)


def show_level(level: float) -> str:
    """Return a level as people read it: 0.975 gives 97.5%."""
    return f"{name_level(level).replace('_', '.')}%"


def name_bounds(level: float) -> tuple[str, str]:
    """Return the names of the lower and the upper bound of an interval: 0.8 gives lo_80 and hi_80."""
    name = name_level(level)
    return f"lo_{name}", f"hi_{name}"


def index_quantiles(quantiles: Sequence[float], *, median: str) -> dict[str, int]:
    """Return which quantile each column holds: the median, then the bounds, the narrowest interval first.

    Args:
        quantiles: ascending, and symmetric around 0.5.
        median: the name of its column.
    """
    middle = len(quantiles) // 2
    columns = {median: middle}
    for i in range(middle - 1, -1, -1):
        low, high = name_bounds(1 - 2 * quantiles[i])
        columns |= {low: i, high: len(quantiles) - 1 - i}
    return columns


def find_levels(columns: Iterable[object]) -> tuple[float, ...]:
    """Return the levels whose intervals are among the columns, ascending."""
    found = (BOUND.fullmatch(str(name)) for name in columns)
    return tuple(sorted({parse_level(match[1]) for match in found if match}))


def find_bounds(columns: Iterable[object]) -> list[str]:
    """Return the columns that bound intervals, the narrowest first."""
    names = [str(name) for name in columns]
    return [name for level in find_levels(names) for name in name_bounds(level) if name in names]


def find_coverage(columns: Iterable[object]) -> dict[str, float]:
    """Return the columns with shares inside intervals, in their order, and the level of each."""
    names = (str(name) for name in columns)
    return {name: parse_level(name.removeprefix(COVERAGE)) for name in names if name.startswith(COVERAGE)}
