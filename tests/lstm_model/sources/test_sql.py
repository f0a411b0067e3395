import sqlite3
import traceback

import pandas as pd
import pytest
import sqlalchemy as sa

from lstm_model.contracts.settings import Columns, Covariates, PipelineConfig, Source
from lstm_model.quality.doctor import examine
from lstm_model.sources.fingerprint import hash_source
from lstm_model.sources.raw_series import DataError, read_source

PASSWORD = "p@ss/w:rd%41#ß"  # that of the fixture postgres


def sql(url, query, password=None, **settings):
    source = Source(kind="sql", url=url, query=query, **settings)
    return read_source(source, covariates=Covariates(), password=password)


@pytest.fixture
def sqlite(tmp_path):
    file = tmp_path / "data.db"
    with sqlite3.connect(file) as connection:
        connection.execute("create table loads (meter text, at text, kwh real)")
        rows = [(meter, f"2024-01-{day:02}", day * 1.5) for meter in ("a", "b") for day in range(1, 11)]
        connection.executemany("insert into loads values (?, ?, ?)", rows)
    return f"sqlite:///{file}"


@pytest.fixture(scope="session")
def loads(postgres):
    """A table of two hourly meters over an autumn night in Berlin, and of a daily one; NUMERIC and TIMESTAMPTZ."""
    engine = sa.create_engine(sa.make_url(postgres).set(drivername="postgresql+psycopg", password=PASSWORD))
    with engine.begin() as connection:
        connection.execute(
            sa.text("create table loads (meter int, at timestamptz, day date, kwh numeric(10, 2), zone text)")
        )
        connection.execute(
            sa.text(
                "insert into loads select m, t, (t at time zone 'UTC')::date, m * 100 + extract(hour from t), 'n%1' "
                "from generate_series('2024-10-26 00:00+02'::timestamptz, '2024-10-28 00:00+01', '1 hour') t, "
                "generate_series(1, 2) m"
            )
        )
    engine.dispose()
    return postgres


def test_sqlite(sqlite):
    raw = sql(sqlite, "select * from loads")
    assert raw.source.columns == Columns(unique_id="meter", ds="at", y="kwh")
    assert raw.table["ds"].iloc[0] == pd.Timestamp("2024-01-01")
    assert raw.table.groupby("unique_id")["y"].sum().to_dict() == {"a": 82.5, "b": 82.5}
    one = sql(sqlite, "select at, kwh from loads where meter = 'a'")
    assert set(one.table["unique_id"]) == {"series"}


def test_a_missing_sqlite_file_is_an_error_and_is_not_created(tmp_path):
    with pytest.raises(DataError, match=r"gone\.db, which does not exist"):
        sql(f"sqlite:///{tmp_path}/gone.db", "select 1")
    assert not (tmp_path / "gone.db").exists()


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("select * from lods", "no such table: lods"),
        ("select * from loads where kwh > 1e9", "returned no rows .columns meter, at, kwh"),
        ("delete from loads", "give a SELECT"),
    ],
)
def test_queries_that_give_nothing(sqlite, query, message):
    with pytest.raises(DataError, match=message):
        sql(sqlite, query)
    assert len(sql(sqlite, "select * from loads").table) == 20, "a query changes nothing"


def test_sql_fingerprint_follows_the_rows_not_their_order(sqlite):
    def of(query):
        return hash_source(Source(kind="sql", url=sqlite, query=query))

    first = of("select * from loads order by at")
    assert of("select * from loads order by kwh desc") == first
    with sqlite3.connect(sqlite.removeprefix("sqlite:///")) as connection:
        connection.execute("update loads set kwh = kwh + 1e-9 where meter = 'a' and at = '2024-01-03'")
    assert of("select * from loads order by at") != first


def test_postgres(loads):
    raw = sql(loads, "select meter, at, kwh from loads", PASSWORD, columns=Columns(unique_id="meter", y="kwh"))
    assert raw.table["y"].dtype == "float64"
    assert set(raw.table["unique_id"]) == {"1", "2"}
    examined = examine(raw, PipelineConfig(source=raw.source, horizon=4))
    assert examined.frequency == "h"
    assert examined.table.groupby("unique_id").size().tolist() == [50, 50], "25 + 24 hours, and midnight"
    assert examined.table["ds"].iloc[0] == pd.Timestamp("2024-10-25 22:00"), "UTC"
    assert examined.table["observed"].all()


def test_postgres_dates_and_percent_signs(loads):
    query = "select day, sum(kwh) as y from loads where zone like 'n\\%%' and meter = 1 group by day order by day"
    raw = sql(loads, query, PASSWORD)
    assert raw.table["ds"].tolist() == pd.date_range("2024-10-25", "2024-10-27").tolist()


def test_postgres_fingerprint_uses_the_password(loads):
    source = Source(kind="sql", url=loads, query="select * from loads")
    assert hash_source(source, password=PASSWORD) == hash_source(source, password=PASSWORD)


@pytest.mark.parametrize(
    ("password", "query", "message"),
    [
        ("wrong-Secr3t", "select 1", "password authentication failed"),
        (PASSWORD, "select * from nowhere", 'relation "nowhere" does not exist'),
        (PASSWORD, f"select cast('{PASSWORD}' as int)", r"invalid input syntax for type integer: \"\*\*\*\""),
    ],
)
def test_the_password_is_in_no_message(loads, password, query, message):
    with pytest.raises(DataError, match=message) as caught:
        sql(loads, query, password)
    shown = "".join(traceback.format_exception(caught.value))
    shown = "\n".join(line for line in shown.splitlines() if "PASSWORD" not in line)
    for form in (
        password,
        sa.make_url(loads).set(password=password).render_as_string(hide_password=False).split("@")[0],
    ):
        assert form not in shown
    assert caught.value.__context__ is None or caught.value.__suppress_context__


def test_a_server_that_is_not_there_may_come_back():
    """A ConnectionError is worth another try; the errors of the data are not."""
    with pytest.raises(ConnectionError, match=r"postgresql://user@127\.0\.0\.1:1/db.*refused") as caught:
        sql("postgresql://user@127.0.0.1:1/db", "select 1", "Secr3t")
    assert "Secr3t" not in str(caught.value)


def test_a_connection_lost_in_the_middle_may_come_back(loads):
    with pytest.raises(ConnectionError, match="terminat"):
        sql(loads, "select pg_terminate_backend(pg_backend_pid())", PASSWORD)


def test_a_database_of_an_unknown_kind():
    with pytest.raises(DataError, match="nosuchdb"):
        sql("nosuchdb://user@host/db", "select 1")
