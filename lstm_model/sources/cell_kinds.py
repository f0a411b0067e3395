"""Guess by their looks what single cells of a file are, to find where its table begins and ends.

How whole columns are read is decided by `dates` and `numbers`, which look at all rows at once.
"""

from __future__ import annotations

import re
from functools import lru_cache

from lstm_model.sources.numbers import MISSING_TEXTS, kind_of_texts

DATE = (
    r"(?:\d{4}-\d{2}(?:-\d{2})?(?:[T ].*)?|\d{8}T\d+.*|\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}(?:\D.*)?"
    r"|\d{4}[-/]\d{1,2}|\d{4}[- ]?Q[1-4]|Q[1-4][-/ ]?\d{4}|\d{4}[- ]?W\d{1,2}|\d{4}-?W\d{2}-?[1-7]|\d{4}[- ]?M\d{1,2})"
)
NUMBER = r"[+-]?(?:\d[\d.,]*|[.,]\d+)(?:[eE][+-]?\d+)?|[+-]?(?i:inf(?:inity)?|nan)"


def is_missing(cell: str) -> bool:
    """Return whether a cell says that there is no value."""
    return cell.strip() in MISSING_TEXTS


def fits_kind(cell: str, kind: str) -> bool:
    """Return whether a cell may stand in a column of this kind (`kind_of_texts`)."""
    text = cell.strip()
    if kind in ("text", "empty") or text in MISSING_TEXTS:
        return True
    if (kind == "number" and re.fullmatch(NUMBER, text)) or (kind == "time" and re.fullmatch(DATE, text)):
        return True
    return find_kind(text) == kind


@lru_cache(maxsize=10_000)
def find_kind(text: str) -> str:
    """Return what one text is: time, clock, number, text, or empty."""
    return kind_of_texts([text])
