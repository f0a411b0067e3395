"""The benchmark of the defaults: what is in it, how it is drawn, and one small data set through all of it."""

import json
import math
from collections import Counter

import numpy as np
import pandas as pd
import pytest

from benchmarks import defaults, machine
from benchmarks.strangers import catalogue
from lstm_model.contracts.settings import PipelineConfig


def test_half_of_each_frequency_is_held_out_and_nothing_is_set_but_columns_and_horizon():
    names = [stranger.name for stranger in catalogue.STRANGERS]
    assert len(set(names)) == len(names) == 25
    parts = Counter((s.frequency, catalogue.part_of(s.name)) for s in catalogue.STRANGERS)
    assert {parts[f, "development"] for f in catalogue.FREQUENCIES} == {2}
    assert {f: parts[f, "held-out"] for f in catalogue.FREQUENCIES} == dict.fromkeys(catalogue.FREQUENCIES, 2) | {
        "daily": 3
    }
    for stranger in catalogue.STRANGERS:
        document = stranger.pipeline("d.csv")
        assert set(document) <= {"source", "covariates", "horizon"}
        PipelineConfig.model_validate({"name": stranger.name, **document})


def test_the_draw_is_what_it_was():
    development = {s.name for s in catalogue.STRANGERS if catalogue.part_of(s.name) == "development"}
    assert development == {
        "electricity_victoria", "solar_farm", "births_us", "page_views", "gasoline_us", "avocados",
        "airline_passengers", "road_casualties_uk", "arrivals_australia", "changes_us", "sunspots", "measles_us",
    }  # fmt: skip


@pytest.mark.parametrize("name", [s.name for s in catalogue.STRANGERS])
def test_files_are_in_the_wheels(name):
    (stranger,) = [s for s in catalogue.STRANGERS if s.name == name]
    try:
        lines = stranger.csv().decode().splitlines()
    except FileNotFoundError as error:
        pytest.skip(str(error))
    head = lines[0].replace('"', "").split(",")
    named = [*stranger.columns.values(), *(c for columns in stranger.covariates.values() for c in columns)]
    assert len(lines) > 40 and set(named) <= set(head)


def test_tables_count_errors_as_lost():
    def of(name, frequency, lstm, naive, seed=0):
        models = dict.fromkeys(defaults.BASELINES, naive) | {"lstm": lstm}
        scores = {m: {"mase": mase, "smape": 1.0, "wql": 0.1} for m, mase in models.items()}
        return defaults.Run(
            name, frequency, "development", seed, 9.0, "promoted", "", {"season": 7}, scores, 1, 1
        )  # fmt: skip

    broken = defaults.Run("c", "daily", "development", 0, 3.0, "error", "error: no\nmore | less")
    runs = [of("a", "daily", 0.5, 1.0), of("b", "daily", 2.0, 1.0), of("b", "daily", 1.0, 2.0, seed=1), broken]
    assert math.isinf(broken.ratio) and math.isinf(of("d", "monthly", 0.1, 0.0).ratio), "no error to compare with"
    rows = defaults.table(runs, dict.fromkeys("abc", "somewhere")).splitlines()
    assert len({row.count("|") for row in rows[:5]}) == 1
    assert "**0.500**" in rows[2] and "**1.250** (0.50–2.00)" in rows[3] and "more / less" in rows[4]
    assert "| daily | 3 | 0.791 | 1.250 | 1 | 1 | 1 |" in defaults.summary(runs)


@pytest.mark.slow
def test_a_small_data_set_is_run_like_its_owner_would(tmp_path, monkeypatch):
    days = pd.date_range("2023-01-01", periods=400, freq="D")
    wave = 10 + np.sin(np.arange(400) * 2 * np.pi / 7) + np.random.default_rng(0).normal(0, 0.3, 400)
    frame = pd.DataFrame({"day": days, "sold": wave})
    stranger = catalogue.Stranger("waves", "daily", lambda: frame, {"ds": "day", "y": "sold"})
    monkeypatch.setattr(defaults, "STRANGERS", (stranger,))
    monkeypatch.setattr(defaults, "part_of", lambda name: "development")
    monkeypatch.setattr(machine, "TRIED", tmp_path)
    monkeypatch.setattr(machine, "ROOT", tmp_path)
    monkeypatch.setattr("sys.argv", ["defaults.py", "--set", "advanced.training.max_steps=60"])
    defaults.main()
    (run,) = json.loads((tmp_path / "defaults.json").read_text())["rows"]
    assert run["status"] == "promoted" and run["chosen"]["season"] == 7 and run["chosen"]["horizon"] == 14
    assert run["ratio"] < 0.95 and run["num_series"] == 1
