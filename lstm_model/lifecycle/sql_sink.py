"""Write forecasts to a table of a database, each once however often it is handed over, in its latest revision."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import sqlalchemy as sa

from lstm_model.contracts.findings import DataError, listed
from lstm_model.lifecycle.ledger import select_latest
from lstm_model.storage.database import connected

ROWS_AT_ONCE = 10_000
NAME = sa.String(255).with_variant(sa.Text(), "postgresql", "sqlite")
"""Of a length where a primary key needs one."""


def insert_missing(rows: pd.DataFrame, *, url: str, table: str, password: str | None) -> int:
    """Insert the forecasts that the table does not have, in one transaction; returns the number of new rows.

    A forecast is known by its series, cutoff, model and revision; a later revision takes the place of one. The table is
    made where there is none, with a primary key, so that two writers cannot both insert the same.

    Args:
        rows: as the ledger returns them.
        url: SQLAlchemy's, without its password.
        table: its name, perhaps with a schema in front.
        password: handed to the driver.

    Raises:
        ConnectionError: the server cannot be reached or went away.
        DataError: the table has not the columns that are needed, or the database refuses.
    """
    schema, _, name = table.rpartition(".")
    with (
        connected(url, password, setting="forecasting.url", create=True) as connection,
        connection.begin(),
    ):
        target = _table(connection, name, schema or None, rows)
        rows = select_latest(rows)
        new = rows[~_known(connection, target, rows)]
        _delete_older(connection, target, new[new["revision"] > 0])
        for start in range(0, len(new), ROWS_AT_ONCE):
            connection.execute(sa.insert(target), _records(new.iloc[start : start + ROWS_AT_ONCE]))
    return len(new)


def holds(keys: pd.DataFrame, *, url: str, table: str, password: str | None) -> bool:
    """Whether the table has all of these forecasts; one that is not there has none.

    Args:
        keys: unique_id, cutoff, model_version and revision.
        url: SQLAlchemy's, without its password.
        table: its name, perhaps with a schema in front.
        password: handed to the driver.

    Raises:
        ConnectionError: the server cannot be reached or went away.
        DataError: the table has not the columns that are needed, or the database refuses.
    """
    schema, _, name = table.rpartition(".")
    with connected(url, password, setting="forecasting.url", create=True) as connection:
        target = _found(connection, name, schema or None, [*_key(keys), "revision"])
        return target is not None and bool(_known(connection, target, keys).all())


def _table(connection: sa.Connection, name: str, schema: str | None, rows: pd.DataFrame) -> sa.Table:
    """The table as it is, or as it is made for these rows."""
    target = _found(connection, name, schema, list(rows.columns))
    if target is None:
        # The cutoff first: what is looked for, here and by readers, are the latest. In autumn, local times come twice.
        moments = ("cutoff_utc", "ds_utc") if "ds_utc" in rows else ("cutoff", "ds")
        key = sa.PrimaryKeyConstraint(moments[0], "model_version", "unique_id", moments[1])
        target = sa.Table(name, sa.MetaData(), *_columns(rows), key, schema=schema)
        target.create(connection)
    return target


def _found(connection: sa.Connection, name: str, schema: str | None, needed: list[str]) -> sa.Table | None:
    """The table where it is there, with the columns that are needed."""
    if not sa.inspect(connection).has_table(name, schema=schema):
        return None
    target = sa.Table(name, sa.MetaData(), schema=schema, autoload_with=connection)
    missing = [column for column in needed if column not in target.columns]
    if missing:
        raise DataError(
            f"forecasting.table {target.fullname} lacks the columns {listed(missing)} (it has "
            f"{listed(target.columns.keys(), limit=20)}). Add them, or name a table that is not there: it will be made"
        )
    if getattr(target.columns["cutoff_utc" if "cutoff_utc" in needed else "cutoff"].type, "timezone", False):
        raise DataError(
            f"forecasting.table {target.fullname} has time zones in cutoff; forecasts carry the series' own clock, "
            "without a zone. Make it timestamp without time zone, or name a table that is not there: it will be made"
        )
    return target


def _columns(rows: pd.DataFrame) -> list[sa.Column[Any]]:
    moment = sa.BigInteger() if rows["cutoff"].dtype.kind == "i" else sa.DateTime()
    moments = dict.fromkeys(("cutoff", "ds", "cutoff_utc", "ds_utc"), moment)
    types: dict[str, Any] = {**moments, "step": sa.Integer(), "unique_id": NAME}
    types |= {"model_version": sa.String(16), "data": sa.String(16), "revision": sa.Integer()}
    return [
        sa.Column(
            column, types.get(column, sa.Double()), nullable=column not in {*types} - {"data"}, autoincrement=False
        )
        for column in rows.columns
    ]


def _known(connection: sa.Connection, target: sa.Table, rows: pd.DataFrame) -> Any:
    """Which rows belong to a forecast that the table has, or has a later revision of."""
    key = _key(rows)
    _, cutoff, version, _ = columns = [target.columns[name] for name in (*key, "revision")]
    within = cutoff.between(_plain(rows[cutoff.name].min()), _plain(rows[cutoff.name].max()))
    by = version.in_(rows["model_version"].unique().tolist())
    found = connection.execute(sa.select(*columns).where(within, by).distinct()).fetchall()
    known = pd.DataFrame.from_records([tuple(row) for row in found], columns=[*key, "known"])
    if known.empty:
        return np.zeros(len(rows), bool)
    known[cutoff.name] = known[cutoff.name].astype(rows[cutoff.name].dtype)
    latest = known.groupby(key)["known"].max().reset_index()
    both = rows[[*key, "revision"]].merge(latest, on=key, how="left")
    return (both["known"] >= both["revision"]).to_numpy()


def _key(rows: pd.DataFrame) -> list[str]:
    """Return the columns that name a forecast; where local times stand beside UTC, those of UTC."""
    return ["unique_id", "cutoff_utc" if "cutoff_utc" in rows else "cutoff", "model_version"]


def _delete_older(connection: sa.Connection, target: sa.Table, revised: pd.DataFrame) -> None:
    """Delete the revisions that others replace."""
    if revised.empty:
        return
    place = sa.and_(*(target.columns[name] == sa.bindparam(f"old_{name}") for name in _key(revised)))
    keys = revised[_key(revised)].drop_duplicates().add_prefix("old_")
    connection.execute(sa.delete(target).where(place), _records(keys))


def _records(rows: pd.DataFrame) -> list[dict[str, Any]]:
    """As Python values: 12.3 as 12.3, though it was a float32, and None where a model has no such interval."""
    columns = {}
    for name, values in rows.items():
        if values.dtype == np.float32:
            values = values.astype(str).astype(float)
        plain = values.astype(object)
        columns[str(name)] = [None if value is pd.NaT or value != value else _plain(value) for value in plain]
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def _plain(value: Any) -> Any:
    return (
        value.to_pydatetime() if isinstance(value, pd.Timestamp) else value.item() if hasattr(value, "item") else value
    )
