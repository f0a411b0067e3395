"""The table in a database: SQLite, and a PostgreSQL server of the test's own."""

import numpy as np
import pandas as pd
import pytest
import sqlalchemy as sa

from lstm_model.contracts.findings import DataError
from lstm_model.lifecycle.sql_sink import holds, insert_missing


def rows(hour, ids=("a", "b"), *, version="m", integer=False):
    cutoff = hour if integer else pd.Timestamp("2024-01-01") + pd.Timedelta(hours=hour)
    step = np.tile(np.arange(1, 3, dtype=np.int32), len(ids))
    ds = cutoff + step if integer else cutoff + pd.to_timedelta(step, unit="h")
    frame = pd.DataFrame({"unique_id": np.repeat(list(ids), 2), "cutoff": cutoff, "ds": ds, "step": step})
    if not integer:
        frame = frame.astype({"cutoff": "datetime64[us]", "ds": "datetime64[us]"})
    frame["mean"] = np.float32(12.3)
    frame["lo_80"] = np.array([np.nan, 1.5] * len(ids), np.float32)
    return frame.assign(data="d", revision=0, model_version=version)


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request, tmp_path, postgres_password):
    """(URL, password, engine) of an empty database; PostgreSQL's URL has no password in it."""
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path}/new.db"
        yield url, None, sa.create_engine(url)
        return
    url = request.getfixturevalue("postgres")
    engine = sa.create_engine(sa.make_url(url).set(drivername="postgresql+psycopg", password=postgres_password))
    yield url, postgres_password, engine
    with engine.begin() as connection:
        connection.execute(sa.text("drop table if exists forecasts"))
    engine.dispose()


def read(engine, table="forecasts"):
    with engine.connect() as connection:
        return pd.read_sql(sa.text(f"select * from {table} order by model_version, cutoff, unique_id, ds"), connection)


def test_every_forecast_once_however_often_it_is_handed_over(database):
    url, password, engine = database

    def insert(frame):
        return insert_missing(frame, url=url, table="forecasts", password=password)

    assert insert(rows(0)) == 4, "the table is made"
    assert insert(rows(0)) == 0
    both = pd.concat([rows(0, "abc"), rows(1), rows(0, version="n")], ignore_index=True)
    assert insert(both) == 2 + 4 + 4 and insert(both) == 0
    table = read(engine)
    assert list(table.columns) == list(rows(0).columns)
    assert len(table) == 14 and not table.duplicated(["unique_id", "cutoff", "model_version", "ds"]).any()
    assert table["mean"].tolist() == [12.3] * 14, "not 12.300000190734863"
    assert table["lo_80"].isna().sum() == 7
    with pytest.raises(sa.exc.IntegrityError), engine.begin() as connection:
        connection.execute(sa.text("insert into forecasts select * from forecasts"))
    with pytest.raises(DataError, match=r"lacks the columns hi_80 .it has unique_id, cutoff, ds, step, mean, lo_80"):
        insert(rows(3).assign(hi_80=1.0))
    assert len(read(engine)) == 14


def test_a_revision_takes_the_place_of_what_it_revises(database):
    url, password, engine = database
    revised = rows(0, "a").assign(mean=np.float32(5), data="e", revision=1)
    for frame, new in ((rows(0), 4), (revised, 2), (revised, 0), (rows(0), 0), (pd.concat([rows(0), revised]), 0)):
        assert insert_missing(frame, url=url, table="forecasts", password=password) == new
    table = read(engine)
    assert table["mean"].tolist() == [5.0, 5.0, 12.3, 12.3] and table["revision"].tolist() == [1, 1, 0, 0]


def test_whether_the_table_has_an_issue(database):
    url, password, _ = database

    def has(frame):
        keys = frame[["unique_id", "cutoff", "model_version", "revision"]].drop_duplicates()
        return holds(keys, url=url, table="forecasts", password=password)

    assert not has(rows(0)), "there is no table"
    insert_missing(pd.concat([rows(0), rows(2)]), url=url, table="forecasts", password=password)
    assert has(rows(0)) and has(rows(2)) and has(rows(0, ids="b"))
    assert not has(rows(1)) and not has(rows(0, ids="abc")) and not has(rows(0, version="n"))


def test_integers_as_time_and_a_table_with_a_schema(tmp_path):
    url = f"sqlite:///{tmp_path}/new.db"
    for hour in (5, 6, 5):
        insert_missing(rows(hour, integer=True), url=url, table="main.issued", password=None)
        assert holds(rows(hour, integer=True), url=url, table="main.issued", password=None)
    assert not holds(rows(7, integer=True), url=url, table="main.issued", password=None)
    table = read(sa.create_engine(url), "issued")
    assert table["cutoff"].tolist() == [5] * 4 + [6] * 4 and table["ds"].tolist() == [6, 7, 6, 7, 7, 8, 7, 8]


def test_a_failure_in_the_middle_leaves_nothing(tmp_path, monkeypatch):
    from lstm_model.lifecycle import sql_sink

    url = f"sqlite:///{tmp_path}/new.db"
    insert_missing(rows(0), url=url, table="forecasts", password=None)
    monkeypatch.setattr(sql_sink, "ROWS_AT_ONCE", 2)
    broken = rows(1)
    broken.loc[3, "unique_id"] = "a"
    broken.loc[3, "ds"] = broken.loc[1, "ds"]
    with pytest.raises(DataError, match=r"forecasting.url sqlite:.*UNIQUE constraint failed"):
        insert_missing(broken, url=url, table="forecasts", password=None)
    assert len(read(sa.create_engine(url))) == 4


def test_a_table_of_somebody_elses(postgres, postgres_password):
    engine = sa.create_engine(sa.make_url(postgres).set(drivername="postgresql+psycopg", password=postgres_password))
    with engine.begin() as connection:
        connection.execute(
            sa.text(
                "create table zoned (unique_id text, cutoff timestamptz, ds timestamptz, step int, mean float8, "
                "lo_80 float8, data text, revision int, model_version text)"
            )
        )
    for use in (insert_missing, holds):
        with pytest.raises(DataError, match=r"forecasting.table zoned has time zones in cutoff.*will be made"):
            use(rows(0), url=postgres, table="zoned", password=postgres_password)
    with engine.begin() as connection:
        connection.execute(sa.text("alter table zoned alter cutoff type timestamp, alter ds type timestamp"))
        connection.execute(sa.text("alter table zoned add column noted timestamptz default now()"))
    assert [insert_missing(rows(0), url=postgres, table="zoned", password=postgres_password) for _ in range(2)] == [
        4,
        0,
    ]
    engine.dispose()


def test_a_server_that_cannot_be_reached(postgres):
    with pytest.raises(ConnectionError, match=r"forecasting\.url postgresql://user@127\.0\.0\.1:1/db"):
        insert_missing(rows(0), url="postgresql://user@127.0.0.1:1/db", table="forecasts", password="Secr3t")
    with pytest.raises(DataError, match="password authentication failed"):
        insert_missing(rows(0), url=postgres, table="forecasts", password="wrong")
