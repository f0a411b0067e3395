"""Find the columns whose names are steps, in a table with one row a series: V1, V2, ... or dates."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from lstm_model.contracts.findings import DataError
from lstm_model.sources.date_choice import AmbiguousDatesError
from lstm_model.sources.dates import read_header

MOST_ATTRIBUTES = 30
"""Most columns before the steps."""


def find_steps(names: Sequence[str]) -> Sequence[str]:
    """Return the last columns of a table, at least three, whose names count on or are dates."""
    for first in range(min(len(names) - 2, MOST_ATTRIBUTES)):
        if are_numbered(names[first:]):
            before, step = (re.sub(r"\d+$", "", name) for name in (names[max(0, first - 1)], names[first]))
            return names[first:] if not first or before != step or before == names[first - 1] else ()
    return ()


def are_numbered(names: Sequence[str]) -> bool:
    """Return whether column names count on (V2, V3, ...) or are dates."""
    try:
        if read_header(names) is not None:
            return True
    except AmbiguousDatesError:  # it is raised again when the table is arranged
        return True
    parts = [re.fullmatch(r"(\D*)(\d+)", name) for name in names]
    if not all(parts):
        return False
    matches = [part for part in parts if part]
    numbers = np.array([int(part[2]) for part in matches])
    return len({part[1] for part in matches}) == 1 and bool((np.diff(numbers) == 1).all())


def check_holes(names: Sequence[str]) -> None:
    """Refuse steps that count on but leave some out, which would close up: W6, W8."""
    parts = [match for name in names if (match := re.fullmatch(r"(\D*)(\d{1,6})", name))]
    if len(parts) < len(names) or len({part[1] for part in parts}) > 1 or are_numbered(names):
        return
    steps = np.diff([int(part[2]) for part in parts])
    at = int(steps.argmax()) if len(steps) else 0
    if len(steps) and (steps > 0).all() and steps[at] > steps.min():
        raise DataError(
            f"the columns go on from {names[at]!r} to {names[at + 1]!r}, which leaves out steps; add them as empty "
            "columns"
        )
