"""Encode past and future covariates that are text as one column of 0 and 1 for each category, named `column=category`.

Shapes: N rows, C covariates, K columns.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pyarrow.types as pt
from numpy.typing import NDArray

from lstm_model.contracts.findings import DataError, listed
from lstm_model.sources.categories import NO, YES

Categories = Mapping[str, Sequence[str]]
"""The categories of each covariate that is text; the place of one is its code."""


def find_categories(table: Path, names: Sequence[str]) -> dict[str, list[str]]:
    """Return the categories of those covariates of a series table that are text, in the order of the alphabet."""
    found: dict[str, set[str]] = {}
    with pq.ParquetFile(table) as file:
        kinds = {name: file.schema_arrow.field(name).type for name in names}
        texts = [name for name, kind in kinds.items() if pt.is_string(kind) or pt.is_large_string(kind)]
        for group in range(file.num_row_groups if texts else 0):
            rows = file.read_row_group(group, columns=texts)
            for name in texts:
                found.setdefault(name, set()).update(rows.column(name).unique().drop_null().to_pylist())
    return {name: sorted(found.get(name, ())) for name in texts}


def name_columns(names: Sequence[str], known: Categories) -> tuple[str, ...]:
    """Return the columns that covariates become: one for each known category of a text, else the covariate itself."""
    return tuple(c for name in names for c in ([f"{name}={text}" for text in known[name]] if name in known else [name]))


def encode_categories(
    values_NC: NDArray[np.float32], names: Sequence[str], *, texts: Categories, known: Categories
) -> NDArray[np.float32]:
    """Return covariates as columns (N, K) of numbers; a text that is missing or not known is 0 in all its columns.

    Args:
        values_NC: numbers, and codes of texts.
        names: of the C covariates.
        texts: what the codes stand for.
        known: the categories that get a column.

    Raises:
        DataError: a covariate is text and should be numbers, or the other way round.
    """
    if not texts.keys() & {*names} and not known.keys() & {*names}:
        return values_NC
    columns = []
    for values_N, name in zip(values_NC.T, names, strict=True):
        if name in texts and name not in known:
            raise DataError(
                f"covariate {name!r} holds texts ({listed(texts[name], limit=4)}), but numbers, or yes and no, where "
                "the model was trained or in another shard. Mend the source, or train again"
            )
        if name not in known:
            columns.append(values_N[:, None])
            continue
        codes_K = [_find_code(text, texts.get(name)) for text in known[name]]
        if name not in texts and not np.isin(values_N[~np.isnan(values_N)], codes_K).all():
            raise DataError(
                f"covariate {name!r} holds numbers, or yes and no, but texts ({listed(known[name], limit=4)}) where "
                "the model was trained or in another shard. Mend the source, or train again"
            )
        columns.append((values_N[:, None] == np.array(codes_K, np.float32)).astype(np.float32))
    return np.concatenate(columns, axis=1) if columns else values_NC


def _find_code(text: str, texts: Sequence[str] | None) -> float:
    """Return the code of a category among texts, or where all are yes and no, and so 1 and 0; NaN: it is not there."""
    if texts is not None:
        return texts.index(text) if text in texts else np.nan
    return 1.0 if text.lower() in YES else 0.0 if text.lower() in NO else np.nan
