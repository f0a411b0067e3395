"""Rows of one step become one: by whose days, what covariates become, and steps that are only partly there."""

import numpy as np
import pandas as pd
import pytest

from lstm_model.contracts.findings import DataError
from lstm_model.quality.aggregation import is_by_days
from tests.lstm_model.quality.test_doctor import codes, look, series

DAYS = {"aggregate": "sum", "frequency": "D", "horizon": 1}


def sell(days=60, *, hours=(8, 20), seed=0, **covariates):
    """Thirty receipts a day at any time of the opening hours."""
    rng = np.random.default_rng(seed)
    seconds = np.sort(rng.integers(hours[0] * 3600, hours[1] * 3600, (days, 30)), axis=1)
    ds = pd.date_range("2024-03-01", periods=days).repeat(30) + pd.to_timedelta(seconds.ravel(), "s")
    return series(ds, 1.0, **{name: values(ds) for name, values in covariates.items()})


@pytest.mark.parametrize(
    ("alias", "expected"),
    [("D", True), ("W-SUN", True), ("MS", True), ("B", True), ("D open mon-sat", True), ("h", False), (None, False)],
)
def test_days_and_what_is_made_of_them_depend_on_the_clock(alias, expected):
    assert is_by_days(alias) is expected


def test_receipts_are_added_up_by_the_days_of_their_own_clock():
    local = sell(hours=(0, 24))
    daily = look(local, **DAYS).table["y"].tolist()
    utc = local.assign(ds=local["ds"].dt.tz_localize("Europe/Berlin", nonexistent="shift_forward", ambiguous=True))
    utc["ds"] = utc["ds"].dt.tz_convert("UTC")
    examined = look(utc, timezone="Europe/Berlin", **DAYS)
    assert examined.table["y"].tolist() == daily and examined.clock is None
    with pytest.raises(DataError, match=r"can lie on one of two.*\(--timezone\)"):
        look(utc, **DAYS)


def test_rows_that_bring_known_covariates_only_are_no_days_without_a_sale():
    ahead = series(pd.date_range("2024-04-30", periods=5), np.nan, promo=1.0)
    table = pd.concat([sell(promo=lambda ds: np.zeros(len(ds))), ahead])
    examined = look(table, aggregate="count", frequency="D", horizon=5, covariates={"future": ["promo"]})
    assert examined.table["y"].tolist()[:60] == [30.0] * 60 and examined.table["y"].isna().sum() == 5


def test_a_covariate_that_differs_within_a_step_is_told_and_an_equal_one_stays_as_it_is():
    table = sell(price=lambda ds: np.full(len(ds), 19.99), load=lambda ds: ds.hour.to_numpy(float))
    examined = look(table, covariates={"past": ["price", "load"]}, **DAYS)
    assert set(examined.table["price"]) == {19.99}
    (told,) = [one.message for one in examined.findings if one.code == "averaged_covariate"]
    assert told.startswith("the covariate 'load' differs within 60 steps, first series 'a', 2024-03-01")
    averaged = look(table, covariates={"past": ["load"]}, **(DAYS | {"aggregate": "mean"}))
    assert "averaged_covariate" not in codes(averaged)


@pytest.mark.parametrize("seed", range(5))
def test_whole_days_are_not_told_as_parts(seed):
    assert "partial_step" not in codes(look(sell(seed=seed), **DAYS))


@pytest.mark.parametrize(
    ("part", "expected"),
    [
        (lambda ds: ds < "2024-04-29 11:00", "the last step ends already at 2024-04-29 10:"),
        (lambda ds: ds > "2024-03-01 16:00", "the first step begins only at 2024-03-01 16:"),
    ],
)
def test_a_day_of_which_only_a_part_was_delivered_is_told(part, expected):
    table = sell()
    examined = look(table[part(table["ds"])].reset_index(drop=True), **DAYS)
    (told,) = [one.message for one in examined.findings if one.code == "partial_step"]
    assert told.startswith(expected) and "leave its rows out" in told


def test_a_reading_just_before_its_step_belongs_to_it():
    ds = pd.date_range("2024-01-01 01:00", periods=400, freq="5min")
    off = pd.to_timedelta(np.random.default_rng(0).integers(-3, 4, 400), "s")
    table = series(ds + off)
    with pytest.raises(DataError, match="--frequency 5min --aggregate mean"):
        look(table)
    examined = look(table, frequency="5min", aggregate="mean")
    assert examined.table["ds"].tolist() == ds.tolist()
    assert examined.table["y"].tolist() == table["y"].tolist()
    assert "rounded_times" in codes(examined)
