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

from lstm_model.config import Forecasting
from lstm_model.forecast import forecast
from lstm_model.ledger import Ledger
from lstm_model.store import Store
from tasks.forecast import deliver, require_champion

ROOT = Path(__file__).parents[2]

CONFIG = """
source: {kind: files, path: shops.csv}
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
from tasks import forecast

forecast.insert_missing = lambda *rows, **settings: os.kill(os.getpid(), signal.SIGKILL)
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
    assert len(issued) == 2 * 4 and set(issued["model_version"]) == {champion} and not (folder / "shops.db").exists()

    again = cli("--config", config, flow="forecast")
    assert (again["status"], again["delivered_rows"], again["issue"]["new_rows"]) == ("unchanged", 8, 0)
    assert ledger.read().equals(issued) and len(rows_of(folder)) == 8
    assert pd.read_parquet(folder / "store" / "shops" / "forecasts.parquet").equals(issued)
    series = ledger.folder.parent / "artifacts" / "series" / again["stages"][0]["artifact"]["sha256"]
    bundle = next((ledger.folder.parent / "artifacts" / "bundle").glob(f"{champion}*"))
    anew = forecast(bundle, series / "series.parquet").table
    assert anew.equals(issued.drop(columns="model_version")), "a rollback gives the same bits, whenever it comes"
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


def issue(hour):
    cutoff = pd.Timestamp("2024-01-01") + pd.Timedelta(hours=hour)
    frame = pd.DataFrame({"unique_id": ["a", "b"], "cutoff": cutoff, "ds": cutoff + pd.Timedelta(hours=1)})
    return frame.assign(step=np.int32(1), mean=np.float32(1), median=np.float32(hour))


def test_what_was_issued_while_the_database_was_away_comes_later(tmp_path, monkeypatch):
    """Also to another database, and after a kill that came before what was handed over could be noted."""
    store = Store(tmp_path / "store")
    ledger, first = Ledger(store), Forecasting(url=f"sqlite:///{tmp_path}/shops.db", table="issued")
    for hour in range(3):
        ledger.append(issue(hour), model_version="m")
    assert deliver.fn(first, store) == 6 and deliver.fn(first, store) == 0
    ledger.append(issue(3), model_version="m")
    child = os.fork()
    if not child:
        monkeypatch.setattr("tasks.forecast.write_atomically", lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL))
        deliver.fn(first, store)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == signal.SIGKILL and len(rows_of(tmp_path)) == 8
    assert deliver.fn(first, store) == 0 and len(rows_of(tmp_path)) == 8
    second = Forecasting(url=f"sqlite:///{tmp_path}/other.db", table="issued")
    assert deliver.fn(second, store) == 8, "a new database receives all that was ever issued"


def test_the_password_of_the_database_comes_from_where_the_config_says(tmp_path, monkeypatch):
    monkeypatch.delenv("SHOP_PASSWORD", raising=False)
    with pytest.raises(ValueError, match=r"forecasting.password_from is env:SHOP_PASSWORD, but .* is not set"):
        deliver.fn(Forecasting(url="sqlite://", password_from="env:SHOP_PASSWORD"), Store(tmp_path))
