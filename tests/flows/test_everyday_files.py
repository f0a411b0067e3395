"""Three files as people bring them go from file to forecast with the two commands of the README."""

import re

import numpy as np
import pandas as pd
import pytest

from flows.check import main as check
from tests.everyday_files import BUILDINGS, HOLIDAYS, write_load_export, write_months, write_receipts

pytestmark = pytest.mark.slow
FEW_STEPS = ["--set", "advanced.training.max_steps=20", "--set", "advanced.model.hidden_dim=8"]


def forecast(cli, data, *flags):
    """Run both commands; return the forecasts and the report."""
    retrained = cli("--data", data, *flags, *FEW_STEPS)
    issued = cli("--data", data, *flags, flow="forecast")
    store = cli.folder / "store" / retrained["name"]
    table = pd.read_parquet(store / "forecasts.parquet")
    assert issued["issue"]["new_rows"] == len(table)
    numbers = table[["mean", "median", "lo_95", "lo_80", "hi_80", "hi_95"]].to_numpy()
    assert np.isfinite(numbers).all() and (numbers >= 0).all()
    assert (np.diff(table[["lo_95", "lo_80", "median", "hi_80", "hi_95"]].to_numpy()) >= 0).all()
    return table, (store / "report.html").read_text(encoding="utf-8")


def test_loads_of_buildings_from_a_german_excel(cli, capsys):
    data = write_load_export(cli.folder / "Lastgang 2024.csv", first="2024-09-20", last="2025-04-02 23:00")
    assert check(["--data", str(data)]) == 2
    assert "--timezone Europe/Berlin" in capsys.readouterr().err
    table, report = forecast(cli, data, "--timezone", "Europe/Berlin")
    assert sorted(table["unique_id"].unique()) == sorted(BUILDINGS), "the totals row and the units are nowhere"
    for _, one in table.groupby("unique_id"):
        assert one["ds"].tolist() == list(pd.date_range("2025-04-03", periods=24, freq="h")), "local time"
        assert one["ds_utc"].tolist() == list(pd.date_range("2025-04-02 22:00", periods=24, freq="h"))
    day = table[table["ds"].dt.hour.between(11, 13)].groupby("unique_id")["median"].mean()
    night = table[table["ds"].dt.hour < 4].groupby("unique_id")["median"].mean()
    assert (day > 1.5 * night).all(), "noon of the clocks on the walls is the peak"
    assert "2025-04-02 23:00" in report and "2025-04-02 22:00" not in report
    assert (
        "1 row at the end of Lastgang 2024.csv left out, totals" in report
        and "Europe/Berlin, in which all times are shown" in report
    )


def test_receipts_of_a_till(cli, capsys):
    data = write_receipts(cli.folder / "receipts.csv", products=6)
    assert check(["--data", str(data)]) == 2
    told = capsys.readouterr().err
    assert "--target" in told and "--id-column article" in told, "or it describes the rows, which no two share a time"
    frequency = re.search(r"--frequency '(.*?)' --aggregate sum --missing zero", told)[1]
    flags = ["--frequency", frequency, "--aggregate", "sum", "--missing", "zero", "--set", "forecasting.integers=true"]
    table, report = forecast(cli, data, "--target", "quantity", "--id-column", "article", *flags)
    assert sorted(table["unique_id"].unique()) == [f"{100 + 7 * product:05d}" for product in range(6)]
    days = pd.DatetimeIndex(table["ds"].unique())
    assert days[0] == pd.Timestamp("2025-01-02") and (days.day_of_week < 6).all()
    assert not {(day.month, day.day) for day in days} & HOLIDAYS
    bounds = table[["median", "lo_80", "hi_80", "lo_95", "hi_95"]].to_numpy()
    assert np.array_equal(bounds, bounds.round()), "whole things are sold"
    total = table.groupby("unique_id")["mean"].mean()
    assert total["00135"] < 0.2 < total["00107"], "what was delisted is forecast as nothing"
    assert "Judged by its mean forecast" in report and "without a value for long" in report


def test_months_of_a_spreadsheet(cli):
    data = write_months(cli.folder / "stays.xlsx")
    table, report = forecast(cli, data)
    assert table["unique_id"].unique().tolist() == ["stays"]
    assert table["ds"].tolist() == list(pd.date_range("2025-07-01", periods=12, freq="MS"))
    assert table["median"].between(600, 2400).all()
    assert "rests on 12 points only" in report
