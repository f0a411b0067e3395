"""Take the names of series as the source writes them: from one column, or joined from several."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce

import numpy as np
import pandas as pd

from lstm_model.contracts.findings import DataError, listed
from lstm_model.contracts.settings import Source

ID_NAMES = ("unique_id", "series_id", "item_id", "series", "id")


def convert_ids(ids: pd.Series) -> pd.Series:
    """Return names of series as texts: 1.0 is the series "1" in a column that a missing value made float."""
    if ids.dtype.kind == "f" and (ids % 1 == 0).all():
        return ids.astype("int64").astype("str")
    return ids.astype("str").str.strip()


def split_names(name: str, columns: Sequence[str]) -> list[str]:
    """Return the columns that together name the series: store,item are two, unless one column is called so."""
    if not name:
        return []
    return [name] if name in columns else [part.strip() for part in name.split(",")]


def take_ids(frame: pd.DataFrame, name: str) -> pd.Series:
    """Return the names of series; those of several columns are joined as store/item.

    Raises:
        DataError: two series would have one name.
    """
    columns = split_names(name, [str(column) for column in frame.columns])
    if len(columns) == 1:
        return frame[name]
    texts = [convert_ids(frame[column]).where(frame[column].notna(), "") for column in columns]
    joined = reduce(lambda left, right: left + "/" + right, texts)
    blank = np.logical_or.reduce([text.eq("").to_numpy() for text in texts])
    if joined.nunique() != len(pd.concat(texts, axis=1).drop_duplicates()):
        raise DataError(
            f"the columns {listed(columns)} have values with / in them, so that two series would get one name; replace "
            "it in the source, or make one column of names"
        )
    return joined.mask(blank, "")


def is_name_column(name: object, source: Source) -> bool:
    """Return whether a column of a text file names the series, so that 1.10 and 1E5 are no numbers."""
    given, name = source.columns.unique_id, str(name).strip()
    return name in (given, *given.split(",")) if given else name.lower() in ID_NAMES
