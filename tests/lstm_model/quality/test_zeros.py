import numpy as np
import pandas as pd
import pytest

from lstm_model.contracts.findings import DataError
from tests.lstm_model.quality.test_doctor import codes, look, series


def receipts(seed=0, days=400, products="abcd"):
    """Units sold of each product on the days on which any were; two are launched late or delisted early."""
    rng = np.random.default_rng(seed)
    parts, truth = [], []
    for k, name in enumerate(products):
        first, last = (100 if k == 1 else 0), (250 if k == 2 else days)
        units = rng.poisson([3.0, 0.1, 0.3, 1.0][k], last - first)
        units[0], units[-1] = 1, 2
        ds = pd.date_range("2024-01-01", periods=days)[first:]
        truth.append(series(ds, np.r_[units, np.zeros(days - last)], name))
        parts.append(series(ds[: last - first][units > 0], units[units > 0].astype(float), name))
    return pd.concat(parts, ignore_index=True), pd.concat(truth, ignore_index=True)


@pytest.mark.parametrize("seed", range(3))
def test_what_a_till_has_no_row_of_was_not_sold(seed):
    sold, truth = receipts(seed)
    examined = look(sold, missing="zero")
    assert examined.frequency == "D"
    assert examined.table["observed"].all()
    pd.testing.assert_frame_equal(
        examined.table[["unique_id", "ds", "y"]], truth.astype({"ds": "datetime64[us]"}), check_dtype=False
    )
    assert codes(examined) == ["zeros", "ended"]
    assert "1 series without a value for long, such as series 'c', 2024-09-06" in examined.findings[1].message
    assert f"{len(truth) - len(sold):,} steps without a value taken as 0" in examined.findings[0].message


def test_without_the_setting_it_is_offered():
    sold, _ = receipts()
    with pytest.raises(DataError, match=r"set missing to zero \(--missing zero\)"):
        look(sold)
    (missing,) = [finding for finding in look(sold[sold["unique_id"] == "d"]).findings if finding.code == "missing"]
    assert missing.severity == "warning" and "--missing zero" in missing.message
    measured = look(sold[sold["unique_id"] == "d"].assign(y=lambda t: t["y"] + 0.5))
    assert "--missing zero" not in measured.findings[0].message


def test_a_closed_day_is_no_day_without_sales():
    rng = np.random.default_rng(0)
    days = pd.date_range("2024-01-01", periods=300)
    days = days[days.day_of_week < 6]
    table = pd.concat([series(days[rng.random(len(days)) < 0.7], unique_id=name) for name in "abcdef"])
    examined = look(table, missing="zero")
    assert examined.frequency == "D open mon-sat"
    assert (examined.table["ds"].dt.day_of_week < 6).all()
    assert examined.table.groupby("unique_id")["ds"].max().nunique() == 1


def test_closed_days_that_were_taken_as_zero_are_told():
    days = pd.date_range("2024-01-01", periods=300)
    examined = look(series(days[days.day_of_week < 6]), missing="zero", frequency="D")
    assert codes(examined) == ["zeros", "closed_days"]
    assert "--frequency 'D open mon-sat'" in examined.findings[1].message
    assert codes(look(series(days.delete(range(0, 300, 4))), missing="zero", frequency="D")) == ["zeros"]


@pytest.mark.parametrize(
    "settings", [{}, {"aggregate": "sum"}, {"missing": "zero"}, {"aggregate": "sum", "missing": "zero"}]
)
def test_receipts_are_asked_about_once_with_all_that_they_need(settings):
    with pytest.raises(DataError, match="--frequency D --aggregate sum --missing zero"):
        look(transactions(), **settings)
    examined = look(transactions(), frequency="D", aggregate="sum", missing="zero")
    assert examined.table["observed"].all()


def test_an_empty_field_is_zero_too_and_rows_of_the_future_are_not():
    ds = pd.date_range("2024-01-01", periods=30)
    y = np.arange(30.0) % 5
    y[[0, 4, 9]] = np.nan
    y[26:] = np.nan
    examined = look(series(ds, y, promo=np.arange(30.0) % 2), missing="zero", covariates={"future": ["promo"]})
    assert examined.table["ds"].min() == pd.Timestamp("2024-01-02")
    assert examined.table["y"].isna().sum() == 4
    assert examined.table.set_index("ds").loc[["2024-01-05", "2024-01-10"], "y"].tolist() == [0, 0]


def transactions(seed=0, days=60):
    rng = np.random.default_rng(seed)
    ds = pd.Timestamp("2024-01-01") + pd.to_timedelta(np.sort(rng.integers(0, days * 86_400, 900)), "s")
    return series(ds, rng.integers(1, 9, 900).astype(float), np.where(rng.random(900) < 0.5, "a", "b"))


@pytest.mark.parametrize("how", ["sum", "mean", "last", "first", "max", "min", "count"])
@pytest.mark.parametrize("frequency", ["D", "6h", "W-SUN", "W-WED", "MS", "ME", "D open mon-sun", "2D"])
def test_transactions_become_one_row_a_step(how, frequency):
    table = transactions(days=900 if frequency[0] in "WM" else 60)
    expected = table.set_index("ds").groupby("unique_id")["y"]
    rule = frequency.split()[0]
    expected = expected.resample(rule, **({"origin": "1970-01-05"} if rule == "2D" else {})).agg(how).dropna()
    expected = expected[expected != 0] if how in ("sum", "count") else expected
    examined = look(table, aggregate=how, frequency=frequency, horizon=1)
    found = examined.table[examined.table["observed"]].set_index(["unique_id", "ds"])["y"]
    pd.testing.assert_series_equal(found, expected.astype(float), check_index_type=False, check_dtype=False)
    assert codes(examined)[0] == "aggregated"


def test_without_aggregate_transactions_are_asked_about_with_the_way_out():
    twice = pd.concat(
        [series(pd.date_range("2024-01-01", periods=20)), series(pd.date_range("2024-01-01", periods=20), 3.0)]
    )
    with pytest.raises(DataError, match=r"two values|received the values.*set aggregate to sum"):
        look(twice)
    with pytest.raises(DataError, match="--frequency D --aggregate sum"):
        look(transactions())


def test_equal_receipts_are_added_not_dropped():
    ds = pd.date_range("2024-01-01", periods=20)
    examined = look(pd.concat([series(ds, 2.0), series(ds, 2.0)]), aggregate="sum")
    assert examined.table["y"].tolist() == [4.0] * 20


def test_sums_and_zeros_together_are_the_daily_units_of_a_shop():
    table = transactions()
    examined = look(table, aggregate="sum", frequency="D", missing="zero")
    daily = table.set_index("ds").groupby("unique_id")["y"].resample("D").sum()
    assert examined.table["y"].sum() == table["y"].sum()
    assert examined.table.set_index(["unique_id", "ds"])["y"].reindex(daily.index).tolist() == daily.tolist()


def test_one_rare_opening_does_not_make_all_other_sundays_days_without_sales():
    days = pd.date_range("2023-01-02", periods=500)
    opened = days[(days.day_of_week < 6) | (days == pd.Timestamp("2023-12-17"))]
    (told,) = [finding for finding in look(series(opened), missing="zero").findings if finding.code == "closed_days"]
    assert "no series has a row but 1 time at times of the week" in told.message
    assert "--frequency 'D open mon-sat'" in told.message and "leave out the rows outside" in told.message


def test_closed_nights_that_were_taken_as_zero_are_told():
    hours = pd.date_range("2024-01-01", periods=24 * 90, freq="h")
    hours = hours[(hours.hour >= 8) & (hours.hour < 20) & (hours.day_of_week < 6)]
    examined = look(series(hours), missing="zero", frequency="h")
    (told,) = [finding for finding in examined.findings if finding.code == "closed_days"]
    assert "--frequency 'h open mon-sat 08:00-19:00'" in told.message


def test_integer_steps_have_no_closed_times():
    steps = np.array([k for k in range(400) if k % 7])
    assert codes(look(series(steps), missing="zero")) == ["zeros"]
