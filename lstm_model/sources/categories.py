"""Read covariates that are written as texts: yes and no, or categories such as sun and rain."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd

from lstm_model.contracts.findings import DataError, listed
from lstm_model.contracts.settings import MOST_CATEGORIES
from lstm_model.sources.numbers import PLAIN, kind_of_texts

YES = frozenset(("yes", "true", "y", "t", "on", "ja", "oui", "si", "sí", "sim", "x", "open", "wahr", "vrai"))
NO = frozenset(("no", "false", "n", "f", "off", "nein", "non", "não", "closed", "falsch", "faux"))
MISSING = frozenset(("", "na", "n/a", "nan", "null", "<na>"))
"""No value; `none` and `-` are categories, as of a promotion that there is not."""
MOST_SAMPLED = 2000
"""Of the different texts of a column whose kind is looked for."""


def read_categories(column: pd.Series) -> pd.Series:
    """Return a covariate of yes and no as 1 and 0, one of other texts as a categorical, one of numbers as it is.

    Yes alone, beside empty cells, is a category: the cells may mean no.

    Raises:
        DataError: it has too many categories.
    """
    if isinstance(column.dtype, pd.CategoricalDtype):  # a dictionary of Parquet
        column = column.astype(column.cat.categories.dtype)
    if not (column.dtype == object or pd.api.types.is_string_dtype(column.dtype)):
        return column
    texts = column.astype("str").str.strip()
    lower = texts.str.lower().where(column.notna(), "")
    missing = lower.isin(MISSING)
    found = set(lower[~missing].unique())
    if found and found <= YES | NO and (not missing.any() or (found & YES and found & NO)):
        return lower.isin(YES).astype("float64").mask(missing, np.nan)
    categories = sorted(texts[~missing].unique())
    if kind_of_texts(categories[:MOST_SAMPLED]) != "text" or all(re.fullmatch(PLAIN, text) for text in categories):
        return column
    if len(categories) > MOST_CATEGORIES:
        raise DataError(
            f"covariate {column.name!r} has {len(categories):,} different texts ({listed(categories, limit=4)}); at "
            f"most {MOST_CATEGORIES} categories are supported. Group the rare ones, or leave it out"
        )
    return pd.Series(pd.Categorical(texts.mask(missing), categories), index=column.index, name=column.name)
