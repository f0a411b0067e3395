"""What is issued reaches its readers in the clock of the source, and says what has changed."""

import sqlite3

import numpy as np
import pandas as pd
import pytest

from lstm_model.contracts.artifact import Artifact
from lstm_model.contracts.clock import Clock
from lstm_model.contracts.stage_meta import ForecastsMeta
from lstm_model.lifecycle.issuing import deliver_missing, issue_forecasts
from lstm_model.lifecycle.ledger import Ledger
from lstm_model.storage.store import Store

CHAMPION = Artifact(kind="bundle", sha256="ab" * 32, num_rows=0)
CLOCK = Clock(zone="Europe/Berlin", aware=False)


def predict(store, hour, **columns):
    """Forecasts of two hours, as the stage leaves them."""
    cutoff = pd.Timestamp("2024-10-27") + pd.Timedelta(hour, unit="h")
    ds = cutoff + pd.to_timedelta([1, 2], unit="h")
    frame = pd.DataFrame({"unique_id": "a", "cutoff": cutoff, "ds": ds, "step": np.array([1, 2], np.int32)})
    frame = frame.assign(mean=np.float32(1), median=np.float32(1), data="d").assign(**columns)
    with store.create("forecasts") as draft:
        frame.to_parquet(draft.folder / "forecasts.parquet", index=False)
        draft.num_rows, draft.meta = 2, ForecastsMeta(left_out={}, remarks=[]).to_json()
    return draft.artifact


def read_database(file):
    with sqlite3.connect(file) as connection:
        return pd.read_sql("select * from issued order by ds_utc", connection)


def test_local_times_of_autumn_are_delivered_once_each(tmp_path):
    store, database = Store(tmp_path), {"url": f"sqlite:///{tmp_path}/a.db", "table": "issued", "password": None}
    for hour in (-2, 0):
        issued = issue_forecasts([predict(store, hour)], CHAMPION, store, clock=CLOCK)
        assert deliver_missing(database, store, clock=CLOCK) == 2 == issued.new_rows
    assert deliver_missing(database, store, clock=CLOCK) == 0
    assert issued.cutoff == "2024-10-27 02:00"
    latest = pd.read_parquet(tmp_path / "forecasts.parquet")
    assert latest["ds"].dt.hour.tolist() == [2, 3] and latest["ds_utc"].dt.hour.tolist() == [1, 2]
    table = read_database(tmp_path / "a.db")
    assert table["ds"].str[11:16].tolist() == ["01:00", "02:00", "02:00", "03:00"]
    assert table["ds_utc"].str[11:16].tolist() == ["23:00", "00:00", "01:00", "02:00"]
    assert Ledger(store).read()["ds"].dt.hour.tolist() == [23, 0, 1, 2], "the ledger keeps UTC"


@pytest.mark.parametrize("clock", [None, CLOCK])
def test_revised_data_replace_the_forecast_of_their_cutoff_and_are_told(tmp_path, clock):
    store, database = Store(tmp_path), {"url": f"sqlite:///{tmp_path}/a.db", "table": "issued", "password": None}
    issue_forecasts([predict(store, 0)], CHAMPION, store, clock=clock)
    assert deliver_missing(database, store, clock=clock) == 2
    again = issue_forecasts([predict(store, 0)], CHAMPION, store, clock=clock)
    assert (again.new_rows, again.notes) == (0, [])
    revised = issue_forecasts([predict(store, 0, mean=np.float32(9), data="e")], CHAMPION, store, clock=clock)
    assert revised.new_rows == 2 and "the data of 1 series were revised" in revised.notes[0]
    assert deliver_missing(database, store, clock=clock) == 2 and deliver_missing(database, store, clock=clock) == 0
    for table in (pd.read_parquet(tmp_path / "forecasts.parquet"), read_all(tmp_path / "a.db")):
        assert table["mean"].tolist() == [9, 9] and table["revision"].tolist() == [1, 1]
    assert Ledger(store).read()["mean"].tolist() == [1, 1, 9, 9], "what was issued stays"


def read_all(file):
    with sqlite3.connect(file) as connection:
        return pd.read_sql("select * from issued", connection)
