"""Forecasts of the champion, issued by the flow in processes of its own: to the ledger, a file, a database, the UI."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
import urllib.request
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from lstm_model.contracts.artifact import Artifact
from lstm_model.contracts.settings import Forecasting
from lstm_model.forecast.predict import forecast
from lstm_model.lifecycle.issuing import Issue, require_champion
from lstm_model.lifecycle.ledger import Ledger
from lstm_model.lifecycle.sql_sink import insert_missing
from lstm_model.lifecycle.stage_outputs import FORECASTS
from lstm_model.reporting.report import Picture
from lstm_model.storage.checked_parquet import dump_table
from lstm_model.storage.store import Store
from tasks.actions.issue import deliver, show

ROOT = Path(__file__).parents[2]

CONFIG = """
source: {kind: files, path: shops.csv, decimal: "."}
horizon: 4
context: 14
forecasting: {url: 'sqlite:///FOLDER/shops.db', table: issued}
advanced:
  model: {hidden_dim: 8, layer_dim: 1, segment: 7}
  training: {max_steps: 20, threads: 1}
"""


def shops(days):
    """A CSV of two shops."""
    rng = np.random.default_rng(0)
    ds = pd.date_range("2024-01-01", periods=days).strftime("%Y-%m-%d")
    lines = ["shop,day,sold"]
    for shop in ("north", "south"):
        sold = 50 + 10 * (np.arange(days) % 7) + rng.normal(size=days)
        lines += [f"{shop},{day},{value:.3f}" for day, value in zip(ds, sold, strict=True)]
    return "\n".join(lines) + "\n"


def rows_of(folder):
    with sqlite3.connect(folder / "shops.db") as connection:
        return pd.read_sql("select * from issued", connection, parse_dates=["cutoff", "ds"])


KILLED = """
import os, signal, sys
from lstm_model.lifecycle import sql_sink

sql_sink.insert_missing = lambda *rows, **settings: os.kill(os.getpid(), signal.SIGKILL)
from flows.cli import main
main("forecast", sys.argv[1:])
"""


@pytest.mark.slow
def test_killed_between_ledger_and_database_then_again_then_a_bad_delivery(cli, api_url):
    folder = cli.folder
    config = folder / "shops.yaml"
    config.write_text(CONFIG.replace("FOLDER", str(folder)))
    (folder / "shops.csv").write_text(shops(120))
    champion = cli("--config", config)["champion"]
    ledger = Ledger(Store(folder / "store" / "shops"))

    command = [sys.executable, "-c", KILLED, "--config", config, "--store", folder / "store"]
    environment = {**cli.environment, "PYTHONPATH": str(ROOT)}
    killed = subprocess.run(command, cwd=folder, env=environment, capture_output=True, timeout=300, check=False)
    assert killed.returncode == -signal.SIGKILL
    issued = ledger.read()
    assert len(issued) == 2 * 4 and set(issued["model_version"]) == {champion}
    assert not (folder / "shops.db").stat().st_size, "killed before anything was written"

    again = cli("--config", config, flow="forecast")
    assert (again["status"], again["delivered_rows"], again["issue"]["new_rows"]) == ("unchanged", 8, 0)
    assert ledger.read().equals(issued) and len(rows_of(folder)) == 8
    assert pd.read_parquet(folder / "store" / "shops" / "forecasts.parquet").equals(issued)
    series = ledger.folder.parent / "artifacts" / "series" / again["stages"][0]["artifact"]["sha256"]
    bundle = next((ledger.folder.parent / "artifacts" / "bundle").glob(f"{champion}*"))
    anew = forecast(bundle, series / "series.parquet").table
    assert anew.equals(issued[anew.columns]), "a rollback gives the same bits, whenever it comes"
    with urllib.request.urlopen(f"{api_url}/artifacts/forecasts-shops/latest", timeout=30) as answer:
        shown = json.load(answer)["data"]
    assert "shops: nothing new, these forecasts were issued before; 2 series from 2024-04-29" in shown
    assert "data:image/png;base64," in shown and "| north | 2024-04-29 00:00:00 | 2024-04-30 00:00:00 | 1 |" in shown

    (folder / "shops.csv").write_text(shops(121) + "south,2024-04-30,9999\n")
    code, errors = cli.fail("--config", config, flow="forecast")
    assert code == 1 and "series 'south', 2024-04-30" in errors and "59.654 and 9999 for one timestamp" in errors
    assert ledger.read().equals(issued) and len(rows_of(folder)) == 8

    (folder / "shops.csv").write_text(shops(121))
    new = cli("--config", config, flow="forecast")
    assert (new["status"], new["delivered_rows"], new["issue"]["new_rows"]) == ("issued", 8, 8)
    assert ledger.read()["cutoff"].dt.day.tolist() == [29] * 8 + [30] * 8
    table = rows_of(folder)
    assert len(table) == 16 and not table.duplicated(["unique_id", "cutoff", "model_version", "ds"]).any()


def test_without_a_champion_it_says_what_to_do(tmp_path):
    with pytest.raises(ValueError, match=r"shops has no champion to forecast with .*run retrain first"):
        require_champion(Store(tmp_path), "shops")


def test_another_horizon_than_the_champions_is_refused(cli, tiny, trained):
    code, errors = cli.fail("--config", tiny, "--horizon", 14, flow="forecast")
    assert code == 1 and "horizon is 14, but the champion" in errors and "forecasts 6 steps" in errors
    assert not (cli.folder / "store" / "tiny" / "forecasts.parquet").exists()


def issue(hour):
    cutoff = pd.Timestamp("2024-01-01") + pd.Timedelta(hours=hour)
    frame = pd.DataFrame({"unique_id": ["a", "b"], "cutoff": cutoff, "ds": cutoff + pd.Timedelta(hours=1)})
    return frame.assign(step=np.int32(1), mean=np.float32(1), median=np.float32(hour))


class Shop:
    """A ledger and a database that it is delivered to; hours are issues."""

    def __init__(self, folder):
        self.folder, self.store, self.ledger = folder, Store(folder / "store"), Ledger(Store(folder / "store"))

    def issue(self, *hours, model="m"):
        for hour in hours:
            self.ledger.append(issue(hour), model_version=model)

    def deliver(self, table="issued"):
        return deliver.fn(Forecasting(url=f"sqlite:///{self.folder}/shops.db", table=table), self.store)

    def hours(self):
        """Those that the database has, each whole and once."""
        table = rows_of(self.folder)
        assert (table.groupby("cutoff").size() == 2).all()
        return sorted(table["cutoff"].dt.hour.unique())

    def delete(self, condition):
        with sqlite3.connect(self.folder / "shops.db") as connection:
            connection.execute(f"delete from issued where {condition}")


@pytest.fixture(params=[2, 32])
def shop(request, tmp_path, monkeypatch):
    """Files merge at once, or not at all."""
    monkeypatch.setattr("lstm_model.lifecycle.ledger.FANOUT", request.param)
    return Shop(tmp_path)


def test_what_was_issued_while_the_database_was_away_comes_later(shop, monkeypatch):
    """Also after a kill between two files, and to another table."""
    shop.issue(*range(3))
    assert shop.deliver() == 6 and shop.deliver() == 0
    shop.issue(*range(3, 8))
    child = os.fork()
    if not child:
        monkeypatch.setattr("lstm_model.lifecycle.sql_sink.insert_missing", killed_after_one)
        shop.deliver()
        os._exit(0)  # all came as one file
    os.waitpid(child, 0)
    before = len(rows_of(shop.folder))
    assert before > 6 and before + shop.deliver() == 16 and shop.hours() == list(range(8))
    assert shop.deliver("another") == 16, "a new table receives all that was ever issued"


def killed_after_one(rows, **database):
    insert_missing(rows, **database)
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.parametrize("backup", [0, 2])
def test_a_database_restored_from_a_backup_is_filled(shop, backup):
    """Before the next issue or after it, and however old the backup is."""
    file, kept = shop.folder / "shops.db", b""
    for hour in range(4):
        kept = file.read_bytes() if hour == backup > 0 else kept
        shop.issue(hour)
        shop.deliver()
    for last in (3, 4):
        file.write_bytes(kept)
        shop.issue(*range(last + 1))
        assert shop.deliver() == 2 * (last + 1 - backup) and shop.hours() == list(range(last + 1))
    assert shop.deliver() == 0


def test_a_number_that_is_given_again_is_delivered(shop):
    """The newest file is lost, or the ledger was moved away."""
    shop.issue(*range(5))
    shop.deliver()
    (shop.store.root / shop.ledger.parts()[-1].entry.name).unlink()
    shop.issue(5)
    assert shop.deliver() == 2 and shop.hours() == list(range(6))
    shop.ledger.folder.rename(shop.folder / "away")
    shop.issue(6)
    assert shop.deliver() == 2 and shop.hours() == list(range(7))


def test_what_a_reader_deleted_stays_deleted(shop):
    shop.issue(*range(6))
    shop.deliver()
    shop.delete("cutoff < '2024-01-01 05:00'")
    assert shop.deliver() == 0 and shop.hours() == [5]


def test_late_series_and_another_model_at_a_cutoff_that_was_delivered(shop):
    shop.issue(0, 1)
    shop.deliver()
    shop.ledger.append(issue(0).replace("a", "0"), model_version="m")
    shop.issue(0, model="n")
    assert shop.deliver() == 3 and shop.deliver() == 0


def test_what_cannot_be_cleaned_up_fails_no_run_that_issued_its_forecast(tmp_path, monkeypatch, caplog):
    """A damaged ledger, say: what is kept for it cannot be told, so nothing goes."""
    shop = Shop(tmp_path)
    shop.issue(0)
    issued = Issue(model_version="m", new_rows=2, num_series=2, cutoff="2024-01-01", notes=[])
    latest = shop.ledger.read_parts(shop.ledger.parts(), None)
    shop.store.backend.write(FORECASTS, dump_table(latest))
    (shop.store.root / shop.ledger.parts()[0].entry.name).write_bytes(b"PAR1")
    with shop.store.create("bundle") as draft:
        pass
    os.utime(shop.store.path(draft.artifact), (0, 0))
    monkeypatch.setattr("tasks.actions.issue.show_markdown", lambda *_, **__: None)
    monkeypatch.setattr("tasks.actions.issue.draw_issue", lambda *_: Picture("forecasts", "", b""))
    series = Artifact(kind="series", sha256="0" * 64, num_rows=0)
    assert show.fn("shops", issued, 2, series, [], shop.store).status == "issued"
    [warning] = [text for text in caplog.messages if "not everything was cleaned up" in text]  # said once
    assert "cannot be read" in warning


def test_the_password_of_the_database_comes_from_where_the_config_says(tmp_path, monkeypatch):
    monkeypatch.delenv("SHOP_PASSWORD", raising=False)
    with pytest.raises(ValueError, match=r"forecasting.password_from is env:SHOP_PASSWORD, but .* is not set"):
        deliver.fn(Forecasting(url="sqlite://", password_from="env:SHOP_PASSWORD"), Store(tmp_path))
