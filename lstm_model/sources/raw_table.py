"""Hold one file or query result as a frame, before its columns have roles; leave out columns that number its rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd


def count_from_one(position: int) -> int:
    """Return the number of a row of a query."""
    return position + 1


def count_below_names(position: int) -> int:
    """Return the number of a row of a Parquet file, whose names count as row 1, as a viewer shows it."""
    return position + 2


@dataclass(frozen=True)
class RawTable:
    """One file or query result as a frame, before its columns have roles."""

    name: str
    frame: pd.DataFrame
    decimal: str | None = None
    """The mark that columns of texts with numbers agree on."""
    reasons: tuple[tuple[str, str], ...] = ()
    notes: tuple[tuple[str, str], ...] = ()
    """What was noticed about the numbers of a column, by its name."""
    locate: Callable[[int], int] = count_from_one
    """Return the line of a row of the frame, as an editor or spreadsheet program counts it."""


UNNAMED = "Unnamed: "
"""How the name of a column without one begins; its place from 0 follows."""


def drop_unnamed(frame: pd.DataFrame, names: Sequence[str], name: str) -> tuple[pd.DataFrame, list[tuple[str, str]]]:
    """Leave out columns without a name that are empty, and a first one that numbers the rows.

    Args:
        frame: its columns without a name are called `Unnamed: 0` and so on.
        names: of its columns; "" has none. Where the file has none at all, the first one is "".
        name: of the file, for the reason.
    """
    unnamed = [i for i, text in enumerate(names) if not text]
    empty = [i for i in unnamed if frame.iloc[:, i].isna().all() or frame.iloc[:, i].eq("").all()]
    reasons = []
    if unnamed[:1] == [0] and 0 not in empty and len(names) > 2 and numbers_rows(frame.iloc[:, 0]):
        empty.append(0)
        reasons.append(("ignored columns", f"the first column of {name} has no name and numbers the rows"))
    return (frame.drop(columns=frame.columns[empty]) if empty else frame), reasons


def numbers_rows(column: pd.Series) -> bool:
    """Return whether integers rise by one from row to row, and begin again at the first wherever tables were joined."""
    if column.dtype.kind not in "iu" or not len(column):
        return False
    values = column.to_numpy()
    steps = np.diff(values)
    return values[0] >= 0 and bool(((steps > 0) | (values[1:] == values[0])).all() and (steps == 1).mean() >= 0.5)


def name_columns(names: Sequence[str]) -> list[str]:
    """Return names of columns in which those without one are called `Unnamed: 0` and so on."""
    return [text or f"{UNNAMED}{i}" for i, text in enumerate(names)]
