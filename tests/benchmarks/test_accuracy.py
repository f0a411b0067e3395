"""A slice of each table: a change that costs accuracy fails here, in seconds."""

import pandas as pd
import pytest

from benchmarks import accuracy
from benchmarks.machine import DATA

FEW = {"threads": 1, "seed": 0, "max_steps": 120}


def needs(*files):
    missing = [name for name in files if not (DATA / name).exists()]
    return pytest.mark.skipif(bool(missing), reason=f"FORECAST_DATA has no {', '.join(missing)} in {DATA}")


def test_msis_is_the_width_and_forty_times_what_lies_outside():
    bounds = {"lo_95": [10.0, 10.0, 10.0], "hi_95": [14.0, 14.0, 14.0]}
    forecasts = pd.DataFrame({"unique_id": ["a", "a", "b"], "y": [12.0, 9.0, 14.5], **bounds})
    scale = pd.DataFrame({"unique_id": ["a", "b"], "mase_scale": [2.0, 4.0]})
    assert accuracy.msis(forecasts, scale) == pytest.approx((4 / 2 + (4 + 40) / 2 + (4 + 20) / 4) / 3)


@needs("M4-Hourly-train.csv", "M4-Hourly-test.csv")
def test_m4_hourly():
    model, naive, whole, *parts = accuracy.m4_hourly(accuracy.Run({**FEW, "learning_rate": 3e-3}, sample=30))
    assert model["owa"] < 0.85 * naive["owa"] and 0 < model["msis"] < 20
    assert 0.85 < whole["coverage_95"] <= 1 and whole["coverage_80"] < whole["coverage_95"]
    assert [part["horizon_steps"] for part in parts] == ["1 to 12", "13 to 24", "25 to 36", "37 to 48"]
    for level in ("coverage_80", "coverage_95"):
        assert sum(part[level] for part in parts) / 4 == pytest.approx(whole[level])


@needs("m3.parquet")
def test_m3():
    rows = list(accuracy.m3(accuracy.Run(FEW, sample=60)))
    assert [row["frequency"] for row in rows] == [*accuracy.M3_HORIZONS, "all"]
    assert [row["series"] for row in rows[:-1]] == [60] * 4
    ratios = [row["smape"] / row["smape_seasonal_naive"] for row in rows[:-1]]
    assert sum(ratios) / 4 < 0.95, ratios


@pytest.mark.slow
@needs("gefcom2012_load.parquet", "gefcom2012_temperature.parquet")
def test_temperature_helps():
    naive, alone, with_temperature, *_ = (
        row.get("mape") for row in accuracy.gefcom2012(accuracy.Run({**FEW, "learning_rate": 3e-3}, sample=2))
    )
    assert with_temperature < alone < naive


@pytest.mark.slow
@needs("ETTh1.csv")
def test_etth1(monkeypatch):
    monkeypatch.setattr(accuracy, "ETT_HORIZONS", (24,))
    one, mean = accuracy.etth1(accuracy.Run({**FEW, "max_steps": 40, "learning_rate": 3e-3}))
    assert one["windows"] == 7 * (2880 - 24 + 1), "every window, the last batch too"
    assert one["mse"] == mean["mse"] < 0.36
