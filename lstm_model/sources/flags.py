"""Read covariates that are written as yes and no."""

from __future__ import annotations

import numpy as np
import pandas as pd

from lstm_model.contracts.findings import DataError, listed

YES = frozenset(("yes", "true", "y", "t", "on", "ja", "oui", "si", "sí", "sim", "x", "open", "wahr", "vrai"))
NO = frozenset(("no", "false", "n", "f", "off", "nein", "non", "não", "closed", "falsch", "faux"))
MISSING = frozenset(("", "na", "n/a", "nan", "null", "none", "-", "?"))


def read_flags(column: pd.Series) -> pd.Series:
    """Return a covariate that is written as yes and no as 1 and 0; any other column of numbers as it is.

    Raises:
        DataError: it holds categories, which are no numbers.
    """
    if column.dtype.kind in "iufbmM" or not (column.dtype == object or pd.api.types.is_string_dtype(column.dtype)):
        return column
    texts = column.astype("str").str.strip().str.lower().where(column.notna(), "")
    missing = texts.isin(MISSING)
    found = set(texts[~missing].unique())
    if found and found <= YES | NO:
        return texts.isin(YES).astype("float64").mask(missing, np.nan)
    if found and not any(any(mark.isdigit() for mark in text) for text in found):
        shown = listed(sorted(column[~missing].astype("str").str.strip().unique()), limit=5)
        raise DataError(
            f"covariate {column.name!r} holds texts ({shown}); past and future covariates are numbers, or yes and no. "
            "Bring one column of 0 and 1 for each of them, or declare it in covariates.static if it never changes "
            "within a series"
        )
    return column
