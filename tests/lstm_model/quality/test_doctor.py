import os
import re
import time
import tracemalloc
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from lstm_model.contracts.findings import ManyDataError
from lstm_model.contracts.settings import Columns, Covariates, PipelineConfig, Source
from lstm_model.networks.normalise import normalise_context
from lstm_model.quality import checks
from lstm_model.quality.doctor import DataError, examine
from lstm_model.sources.raw_series import RawSeries, read_source
from lstm_model.sources.synthetic import generate_panel

DATA = Path(os.environ.get("FORECAST_DATA") or Path(__file__).parents[3].parent / "shared" / "data")
DAYS = pd.date_range("2024-01-01", periods=40)
needs_data = pytest.mark.skipif(not DATA.exists(), reason=f"no real data in {DATA}; set FORECAST_DATA")


def series(ds, y=None, unique_id="a", **covariates):
    y = np.arange(len(ds), dtype=float) % 24 + 1 if y is None else y
    return pd.DataFrame({"unique_id": unique_id, "ds": ds, "y": y, **covariates}).astype({"unique_id": "str"})


def look(table, *, timezone=None, **settings):
    """Examine a table as if it came from a file."""
    source = Source(kind="files", path="data.csv", timezone=timezone)
    table = table.reset_index(drop=True)
    if table["ds"].dtype.kind == "M":
        table["ds"] = table["ds"].dt.as_unit("us")
    return examine(RawSeries(table, source), PipelineConfig(source=source, **({"horizon": 2} | settings)))


def codes(examined):
    return [finding.code for finding in examined.findings]


def hours(count=100, start="2024-01-01"):
    return pd.date_range(start, periods=count, freq="h")


# The table ------------------------------------------------------------------------------------------------------------


def test_clean_data_passes_unchanged():
    examined = look(series(hours()))
    assert list(examined.table) == ["unique_id", "ds", "y", "observed"]
    assert [str(dtype) for dtype in examined.table.dtypes] == ["str", "datetime64[us]", "float64", "bool"]
    assert examined.findings == ()
    assert examined.counts.to_dict("records") == [{"unique_id": "a", "observed": 100, "repaired": 0, "future": 0}]


@pytest.mark.parametrize("policy", ["interpolate", "seasonal"])
def test_shuffled_rows_give_the_same_table(policy):
    table = generate_panel(8, 400, seed=3)
    table.loc[table.sample(50, random_state=0).index, "y"] = np.nan
    first = look(table, missing=policy)
    for seed in range(3):
        shuffled = look(table.sample(frac=1, random_state=seed), missing=policy)
        pd.testing.assert_frame_equal(shuffled.table, first.table)
        assert shuffled.findings == first.findings
    assert first.table.groupby("unique_id")["ds"].diff().dropna().nunique() == 1
    real = first.table[first.table["observed"]].merge(table.dropna(), on=["unique_id", "ds"])
    assert (real["y_x"] == real["y_y"]).all()
    assert len(real) == first.table["observed"].sum()


# Frequency ------------------------------------------------------------------------------------------------------------

FREQUENCIES = re.split(" ", "s 15min h 3h D 2D B W-SUN W-WED MS ME QS QE QS-FEB QE-NOV YS YE YS-APR YE-JUN")


@pytest.mark.parametrize("frequency", FREQUENCIES)
@pytest.mark.parametrize("gap", [False, True])
def test_frequencies_are_inferred_and_regular_again_after_a_gap(frequency, gap):
    ds = pd.date_range("2012-03-05", periods=40, freq=frequency)
    y = np.arange(40.0)
    kept = np.delete(np.arange(40), [7, 8, 20]) if gap else np.arange(40)
    examined = look(series(ds[kept], y[kept]))
    assert examined.frequency == frequency
    assert examined.table["ds"].tolist() == ds.tolist()
    np.testing.assert_allclose(examined.table["y"], y)
    assert (~examined.table["observed"]).sum() == 40 - len(kept)
    given = look(series(ds[kept], y[kept]), frequency=frequency)
    pd.testing.assert_frame_equal(given.table, examined.table)


def test_integer_steps():
    examined = look(series(np.array([5, 6, 7, 9, 10, 11])))
    assert examined.frequency == "1"
    assert examined.table["ds"].tolist() == [5, 6, 7, 8, 9, 10, 11]
    with pytest.raises(DataError, match="go up by 2, expected 1"):
        look(series(np.arange(0, 20, 2)))
    with pytest.raises(DataError, match="frequency is 'h', expected 1"):
        look(series(np.arange(20)), frequency="h")


def test_series_may_have_their_own_phase_and_length():
    table = pd.concat([series(hours(50)), series(hours(30) + pd.Timedelta("20min"), unique_id="b")])
    assert look(table).table.groupby("unique_id").size().tolist() == [50, 30]


def test_irregular_timestamps_name_the_offender():
    ds = hours().to_series().reset_index(drop=True)
    ds[40] += pd.Timedelta("7min")
    table = pd.concat([series(hours()), series(ds, unique_id="b")])
    with pytest.raises(
        DataError, match=r"1 series \(1 row\).*'b' has 2024-01-02 16:07:00 after 2024-01-02 15:00:00.*steps of h"
    ):
        look(table)


def test_two_rows_in_one_month_are_irregular_and_one_in_the_middle_keeps_its_day():
    middle = look(series(pd.date_range("2020-01-01", periods=24, freq="MS") + pd.Timedelta("14D")))
    assert middle.frequency == "MS +14D"
    assert middle.table["ds"].dt.day.unique().tolist() == [15]
    moved = look(series(pd.date_range("2020-01-01", periods=24, freq="MS") + pd.Timedelta("14D")), frequency="MS")
    assert codes(moved) == ["moved"]
    assert moved.table["ds"].dt.day.unique().tolist() == [1]
    with pytest.raises(DataError, match=r"irregular.*expected steps of MS"):
        look(series(pd.date_range("2024-01-01", periods=60, freq="D")), frequency="MS")


@pytest.mark.parametrize(
    ("frequency", "message"), [("H", "write h"), ("fortnight", "Expected a pandas alias"), ("-1h", "backwards")]
)
def test_unknown_frequencies(frequency, message):
    with pytest.raises(DataError, match=message):
        look(series(hours()), frequency=frequency)


def test_stock_market_holidays_are_closed_not_missing():
    days = pd.bdate_range("2024-01-01", "2024-12-31")
    traded = days[~days.isin(pd.to_datetime(["2024-07-04", "2024-11-28", "2024-12-25"]))]
    examined = look(series(traded + pd.Timedelta("16h")))
    assert examined.frequency == "B closed 07-04 12-25 4thu11"
    assert codes(examined) == []
    assert examined.table["ds"].tolist() == (traded + pd.Timedelta("16h")).tolist()
    given = look(series(traded), frequency="B")
    assert "3 business days without a value (such as holidays)" in given.findings[0].message


# Duplicates -----------------------------------------------------------------------------------------------------------


def test_identical_duplicates_are_dropped_and_reported():
    table = series(hours())
    examined = look(pd.concat([table, table.iloc[[3, 3, 50]]]))
    pd.testing.assert_frame_equal(examined.table, look(table).table)
    (finding,) = examined.findings
    assert (finding.code, finding.severity, finding.count, finding.unique_id) == ("duplicates", "repair", 3, "a")
    empty = table.assign(y=table["y"].where(table.index != 3))
    assert codes(look(pd.concat([empty, empty.iloc[[3]]]))) == ["duplicates", "missing"], (
        "two empty values are the same"
    )


def test_conflicting_duplicates_are_an_error():
    table = series(hours())
    with pytest.raises(DataError, match=r"'a', 2024-01-01 03:00:00: received the values 4 and 99.*--id-column"):
        look(pd.concat([table, table.iloc[[3]].assign(y=99.0)]))
    with pytest.raises(DataError, match="received the values 4 and nan"):
        look(pd.concat([table, table.iloc[[3]].assign(y=np.nan)]))
    covariate = series(hours(), x=1.0)
    with pytest.raises(DataError, match="for one timestamp"):
        look(pd.concat([covariate, covariate.iloc[[3]].assign(x=2.0)]), covariates=Covariates(past=("x",)))


@pytest.mark.parametrize(
    ("receipts", "shown"),
    [
        (pd.DataFrame({"date": DAYS.repeat(3), "product": "tea", "qty": 1.0}), "80 such rows, 67% of all"),
        (
            pd.DataFrame({"receipt": range(41), "date": [*DAYS, DAYS[0]], "product": "tea", "qty": 1.0}),
            "1 such row, whose other columns differ",
        ),
    ],
)
def test_receipts_of_equal_amounts_are_no_duplicates(tmp_path, receipts, shown):
    receipts.to_csv(tmp_path / "till.csv", index=False)
    columns = Columns(ds="date", unique_id="product", y="qty")
    source = Source(kind="files", path=str(tmp_path / "till.csv"), columns=columns)
    raw = read_source(source, covariates=Covariates())
    with pytest.raises(DataError, match=rf"{shown}.*--aggregate sum.*--aggregate last"):
        examine(raw, PipelineConfig(source=source))
    summed = examine(raw, PipelineConfig(source=source, aggregate="sum"))
    assert summed.table["y"].sum() == len(receipts)


def test_a_row_that_a_file_repeats_in_all_columns_is_dropped_and_told(tmp_path):
    frame = pd.DataFrame({"date": [*DAYS, DAYS[3]], "note": "x", "y": [*range(40), 3]})
    frame.to_csv(tmp_path / "d.csv", index=False)
    source = Source(kind="files", path=str(tmp_path / "d.csv"), columns=Columns(unique_id=""))
    examined = examine(read_source(source, covariates=Covariates()), PipelineConfig(source=source))
    assert codes(examined) == ["duplicates"]


def test_a_series_that_is_the_sum_of_the_others_is_told():
    rng = np.random.default_rng(0)
    parts = [series(hours(), rng.integers(1, 99, 100).astype(float), name) for name in ("town hall", "school", "pool")]
    total = series(hours(), sum(part["y"] for part in parts), "Sum")
    (finding,) = look(pd.concat([*parts, total])).findings
    assert (finding.code, finding.severity, finding.unique_id) == ("total", "warning", "Sum")
    assert "the sum of the 3 other series" in finding.message
    total.loc[5, "y"] += 9
    assert codes(look(pd.concat([*parts, total]))) == []


# Clocks ---------------------------------------------------------------------------------------------------------------


def berlin(start, end, freq="h"):
    return pd.date_range(start, end, freq=freq, tz="Europe/Berlin")


@pytest.mark.parametrize("freq", ["h", "15min", "30min"])
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("aware", [False, True])
def test_days_of_23_and_25_hours_are_regular_in_utc(freq, reverse, aware):
    zoned = berlin("2024-03-29", "2024-11-02", freq)
    table = series(zoned if aware else zoned.tz_localize(None), np.arange(len(zoned), dtype=float))
    examined = look(table[::-1] if reverse else table, timezone=None if aware else "Europe/Berlin")
    assert examined.frequency == freq
    assert examined.table["ds"].tolist() == zoned.tz_convert("UTC").tz_localize(None).tolist()
    assert examined.table["y"].tolist() == list(range(len(zoned)))
    assert examined.table["observed"].all()


@pytest.mark.parametrize("season", [("2024-03-25", "2024-04-10"), ("2024-10-20", "2024-11-01")])
def test_local_hours_without_a_zone_are_an_error_that_names_the_setting(season):
    table = series(berlin(*season).tz_localize(None), unique_id="a")
    table["y"] = np.arange(len(table), dtype=float)
    with pytest.raises(DataError, match=r"clocks change in Europe/Berlin.*source\.timezone"):
        look(table)


def test_a_missing_hour_elsewhere_is_only_a_gap():
    ds = hours(24 * 200)
    assert codes(look(series(ds.delete([500, 501, 1000])))) == ["missing"]
    # The spring hour is missing together with its neighbours: no sign of a clock.
    night = ds.get_loc(pd.Timestamp("2024-03-31 02:00"))
    assert codes(look(series(ds.delete(range(night - 5, night + 5))))) == ["missing"]


def test_utc_data_with_a_gap_in_the_spring_hour_can_say_so():
    ds = hours(24 * 200)
    gap = series(ds.delete(ds.get_loc(pd.Timestamp("2024-03-31 02:00"))))
    with pytest.raises(DataError, match="UTC if they are not local times"):
        look(gap)
    assert codes(look(gap, timezone="UTC")) == ["missing"]


@pytest.mark.parametrize("aware", [False, True])
def test_days_stay_local_dates_over_a_change_of_clocks(aware):
    zoned = berlin("2024-03-01", "2024-11-30", "D")
    ds = zoned if aware else zoned.tz_localize(None)
    examined = look(series(ds.delete(30)), timezone="Europe/Berlin")
    assert examined.frequency == "D"
    assert examined.table["ds"].tolist() == zoned.tz_localize(None).tolist()
    assert examined.table["y"].notna().all(), "no value is lost beside the missing row"
    in_utc = series(zoned.tz_convert("UTC"))
    assert look(in_utc, timezone="Europe/Berlin").table["ds"].tolist() == zoned.tz_localize(None).tolist()
    with pytest.raises(DataError, match=r"irregular.*set source\.timezone"):
        look(in_utc)


def test_times_that_no_clock_shows():
    ds = pd.date_range("2024-03-30", "2024-04-02", freq="h")
    y = np.arange(len(ds), dtype=float)
    with pytest.raises(DataError, match=r"2024-03-31 02:00:00: Europe/Berlin clocks skip this time.*value 26"):
        look(series(ds, y), timezone="Europe/Berlin")
    y[26] = np.nan
    examined = look(series(ds, y), timezone="Europe/Berlin")
    assert codes(examined) == ["skipped_hour"]
    assert len(examined.table) == len(ds) - 1
    assert examined.table["observed"].all()


def test_a_repeated_hour_in_no_order_or_thrice_is_an_error():
    zoned = berlin("2024-10-26", "2024-10-29")
    table = series(zoned.tz_localize(None), np.arange(len(zoned), dtype=float))
    with pytest.raises(DataError, match="no order of time"):
        look(table.sample(frac=1, random_state=1), timezone="Europe/Berlin")
    with pytest.raises(DataError, match=r"more than two rows at 2024-10-27 02:00:00"):
        look(pd.concat([table, table.iloc[[26]]]), timezone="Europe/Berlin")
    once = look(table.drop(27), timezone="Europe/Berlin")
    assert once.findings[-1].code == "missing", "the hour that the file lacks is a gap"
    with pytest.raises(DataError, match="Europe/Atlantis"):
        look(table, timezone="Europe/Atlantis")


# Missing values -------------------------------------------------------------------------------------------------------


def gappy():
    y = np.tile(np.arange(24.0), 5)
    y[[30, 31, 60]] = [np.nan, np.inf, -np.inf]
    return series(hours(120), y).drop(index=[80, 81])


def test_interpolation_runs_inside_a_series_only():
    examined = look(pd.concat([gappy(), gappy().assign(unique_id="b", y=lambda t: t["y"] + 1000)]))
    assert codes(examined) == ["infinite", "missing"]
    assert [finding.count for finding in examined.findings] == [4, 10]
    np.testing.assert_allclose(
        examined.table["y"], np.concatenate([np.tile(np.arange(24.0), 5) + add for add in (0, 1000)])
    )
    assert np.flatnonzero(~examined.table["observed"][:120]).tolist() == [30, 31, 60, 80, 81]
    assert examined.counts["repaired"].tolist() == [5, 5]


def test_seasonal_repair_takes_the_value_one_season_before_else_a_line():
    y = np.arange(20.0)
    y[[3, 9, 13, 18]] = np.nan
    examined = look(series(hours(20), y), missing="seasonal", season=4)
    # 3 has no season before it; 13 looks through the missing 9 to 5; 18 takes 14.
    assert examined.table["y"][[3, 9, 13, 18]].tolist() == [3, 5, 5, 14]
    assert "1 without an earlier season by interpolation" in examined.findings[0].message
    both = look(
        pd.concat([series(hours(20), y), series(hours(20), y + 100, unique_id="b")]), missing="seasonal", season=4
    )
    assert both.table["y"][[23, 29, 33, 38]].tolist() == [103, 105, 105, 114], "no season of another series"
    by_default = look(series(hours(50), np.where(np.arange(50) == 40, np.nan, np.arange(50.0))), missing="seasonal")
    assert by_default.table["y"][40] == 16, "24 hours before"


def test_policy_error_names_the_place_and_drop_series_drops():
    table = pd.concat([gappy(), series(hours(120), unique_id="whole")])
    with pytest.raises(DataError, match=r"5 steps without a value in 1 series.*2024-01-02 06:00:00.*set missing to"):
        look(table, missing="error")
    dropped = look(table, missing="drop_series")
    assert dropped.table["unique_id"].unique().tolist() == ["whole"]
    assert codes(dropped) == ["infinite", "dropped"]
    with pytest.raises(DataError, match="no series is complete"):
        look(gappy(), missing="drop_series")


def test_drop_series_keeps_the_phase_of_the_others():
    table = pd.concat([gappy(), series(hours(50) + pd.Timedelta("20min"), unique_id="b")])
    assert look(table, missing="drop_series").table["ds"].iloc[0] == pd.Timestamp("2024-01-01 00:20")


def test_too_much_missing_is_an_error():
    table = series(hours(100)).iloc[np.r_[0:20, 75:100]]
    with pytest.raises(DataError, match=r"'a': 55 of its 100 steps \(55%\).*max_missing_share = 0\.5"):
        look(table)
    assert look(table, advanced={"window": {"max_missing_share": 0.55}}).counts["repaired"].tolist() == [55]


def test_leading_and_trailing_gaps_are_trimmed_not_filled():
    y = np.arange(50.0)
    y[:5] = y[-3:] = np.nan
    examined = look(series(hours(50), y))
    assert codes(examined) == ["trimmed"]
    assert examined.findings[0].count == 8
    assert (len(examined.table), examined.table["observed"].all()) == (42, True)


def test_findings_are_one_a_kind_however_many_series():
    table = generate_panel(300, 300)
    assert [(f.code, f.severity) for f in look(table).findings] == [("missing", "repair")]


# Short and constant series --------------------------------------------------------------------------------------------


def test_thirty_rows_with_horizon_28_are_just_enough():
    thirty = series(pd.date_range("2024-01-01", periods=30, freq="D"))
    assert len(look(thirty, horizon=28).table) == 30
    with pytest.raises(
        DataError, match=r"fewer than horizon \+ 2 = 31 observations.*has 30 values.*horizon to 28 at most"
    ):
        look(thirty, horizon=29)


def test_short_series_are_excluded_and_reported():
    table = pd.concat([series(hours(40)), series(hours(9), unique_id="b"), series(hours(3), unique_id="c")])
    table = pd.concat([table, series(hours(30), np.nan, unique_id="void")])
    examined = look(table, horizon=10)
    assert examined.table["unique_id"].unique().tolist() == ["a"]
    finding = next(finding for finding in examined.findings if finding.code == "too_short")
    assert (finding.severity, finding.count, finding.unique_id) == ("warning", 3, "void")


def test_constant_series_are_a_warning():
    table = pd.concat([series(hours()), series(hours(), 5.0, unique_id="flat")])
    (finding,) = look(table).findings
    assert (finding.code, finding.severity, finding.unique_id) == ("constant", "warning", "flat")
    assert "always 5" in finding.message


def test_no_rows():
    with pytest.raises(DataError, match="no rows"):
        look(series(hours(0)))


# Covariates -----------------------------------------------------------------------------------------------------------

DECLARED = Covariates(static=("region",), past=("humidity",), future=("holiday",))


def covered(count=60, ahead=6):
    y = np.where(np.arange(count) < count - ahead, np.arange(count) % 24, np.nan)
    humidity = np.where(np.isnan(y), np.nan, 50.0 + np.arange(count))
    return series(hours(count), y, holiday=np.arange(count) % 2, humidity=humidity, region="north")


def test_future_rows_stay_with_an_empty_target():
    examined = look(pd.concat([covered(), covered().assign(unique_id="b", region="south")]), covariates=DECLARED)
    assert examined.findings == ()
    future = examined.table[examined.table["y"].isna()]
    assert len(future) == 12
    assert not future["observed"].any()
    assert future["holiday"].tolist() == [0, 1] * 6
    assert examined.counts["future"].tolist() == [6, 6]
    assert examined.table.groupby("unique_id")["region"].first().tolist() == ["north", "south"]
    assert list(examined.table)[4:] == ["humidity", "holiday", "region"]


def test_a_numeric_static_covariate_is_a_number_and_fills_its_gaps():
    table = covered().assign(region=np.where(np.arange(60) == 7, 3, np.nan))
    assert look(table, covariates=DECLARED).table["region"].tolist() == [3.0] * 60


def test_trailing_rows_without_future_covariates_are_trimmed():
    table = covered()
    table.loc[57:, "holiday"] = np.nan
    examined = look(table, covariates=DECLARED)
    assert codes(examined) == ["trimmed"]
    assert examined.counts["future"].tolist() == [3]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda t: t.assign(holiday=t["holiday"].where(t.index != 20)),
            r"'holiday' is missing in the history.*2024-01-01 20:00:00",
        ),
        (
            lambda t: t.assign(holiday=t["holiday"].where(t.index != 56)),
            r"'holiday' is missing in the steps after.*2024-01-03 08:00",
        ),
        (lambda t: t.drop(index=57), r"'holiday' is missing in the steps after.*2024-01-03 09:00"),
        (lambda t: t.drop(index=20), r"'holiday' is missing in the history.*2024-01-01 20:00:00"),
        (
            lambda t: t.assign(humidity=t["humidity"].where(t.index > 30)),
            r"'humidity' has no value yet at series 'a'.*31 such steps",
        ),
        (
            lambda t: t.assign(region=np.where(t.index == 9, "south", "north")),
            r"'region' changes.*2024-01-01 09:00:00.*'south'",
        ),
        (lambda t: t.assign(region=pd.NA), r"'region' has no value in series 'a'"),
    ],
)
def test_bad_covariates_are_named(change, message):
    with pytest.raises(DataError, match=message):
        look(change(covered()), covariates=DECLARED)
    other = covered().assign(unique_id="0 is fine and comes first")
    with pytest.raises(DataError, match=message):
        look(pd.concat([other, change(covered())]), covariates=DECLARED)


def test_static_covariates_stay_with_their_series_when_another_is_excluded():
    table = pd.concat([covered(8, 6).assign(unique_id="0", region="west"), covered()])
    assert set(look(table, covariates=DECLARED).table["region"]) == {"north"}


def test_past_covariates_are_filled_from_before_only():
    """A line to the next value would carry the future over a cutoff."""
    table = covered().assign(humidity=lambda t: t["humidity"].where(~t.index.isin([10, 11])))
    examined = look(table, covariates=DECLARED)
    assert examined.table["humidity"][[9, 10, 11, 12]].tolist() == [59, 59, 59, 62]
    assert [(finding.code, finding.count) for finding in examined.findings] == [("past_covariate", 2)]
    assert examined.table["observed"][:54].all(), "the target was there"


# Real and large -------------------------------------------------------------------------------------------------------


@needs_data
def test_the_real_gaps_of_gefcom_are_filled_and_marked(tmp_path):
    frame = pd.read_parquet(DATA / "gefcom2012_load.parquet", filters=[("unique_id", "in", ["zone_01", "zone_02"])])
    frame.to_parquet(tmp_path / "zones.parquet")
    source = Source(kind="files", path=str(tmp_path / "zones.parquet"), columns=Columns(y="y"))
    raw = read_source(source, covariates=Covariates())
    examined = examine(raw, PipelineConfig(source=source, horizon=168, missing="seasonal", season=168))
    assert examined.frequency == "h"
    assert examined.counts["repaired"].tolist() == [1344, 1344]
    assert examined.findings[-1].count == 2688
    real = examined.table[examined.table["observed"]][["unique_id", "ds", "y"]].reset_index(drop=True)
    pd.testing.assert_frame_equal(real, frame.dropna().reset_index(drop=True), check_dtype=False)


def test_a_million_rows_take_a_second_or_two():
    table = generate_panel(1000, 1000)
    start = time.perf_counter()
    assert len(look(table).table) == 1_000_000
    assert time.perf_counter() - start < 20


# Spans of time --------------------------------------------------------------------------------------------------------


def with_year(ds, row, year):
    ds = ds.as_unit("us").to_numpy().copy()
    ds[row] = np.datetime64(f"{year:04}" + str(ds[row])[4:], "us")
    return ds


@pytest.mark.parametrize("year", [1, 1070, 1677, 2262, 2999])
@pytest.mark.parametrize("settings", [{}, {"missing": "interpolate"}, {"missing": "seasonal", "share": 1.0}])
def test_one_wrong_year_is_refused_before_its_steps_are_built(year, settings):
    row = 0 if year < 2024 else 99
    settings = dict(settings)
    if share := settings.pop("share", None):
        settings["advanced"] = {"window": {"max_missing_share": share}}
    tracemalloc.start()
    with pytest.raises(DataError, match=rf"series 'a'.* {year:04}-01-0"):
        look(series(with_year(hours(), row, year)), **({"missing": "interpolate"} | settings))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20e6


def test_a_future_covariate_of_a_wrong_year_is_refused_before_its_steps_are_built():
    table = series(with_year(hours(), 99, 2999), temperature=1.0)
    table.loc[99, "y"] = np.nan
    with pytest.raises(DataError, match=r"longest gap.*'a', 2024-01-05 02:00:00, and 2999-01-05 03:00:00"):
        look(table, covariates=Covariates(future=("temperature",)))


def test_the_steps_of_a_calendar_are_counted_before_they_are_built():
    with pytest.raises(DataError, match=r"steps of bh lie between series 'a', 0001.*Correct the timestamp"):
        look(series(with_year(pd.date_range("2024-01-01 09:00", periods=100, freq="bh"), 0, 1)), frequency="bh")


def test_a_long_gap_is_filled_from_seasons_before_it():
    table = series(np.array([0, 1, 2, 3, 50_000, 50_001]), y=[1.0, 2.0, 3.0, 4.0, 5.0, 6.0])
    advanced = {"window": {"max_missing_share": 1.0}}
    filled = look(table, missing="seasonal", season=2, advanced=advanced).table["y"].to_numpy()
    assert np.array_equal(filled[4:50_000], np.tile([3.0, 4.0], 24_998))


# Sizes of values ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [1e300, 1e39, -1e39, 2e15])
def test_a_value_too_large_for_float32_names_its_place_and_the_limit(value):
    y = np.arange(100.0) % 24
    y[50] = value
    with pytest.raises(
        DataError, match=r"series 'a', 2024-01-03 02:00:00: received \S+ for 'y'.*at most 1e\+15 in size"
    ):
        look(series(hours(), y))
    with pytest.raises(DataError, match=r"series 'a', 2024-01-03 02:00:00: received \S+ for 'wind'.*larger unit"):
        look(series(hours(), wind=y), covariates=Covariates(past=("wind",)))


@pytest.mark.parametrize("unit", [1e-320, 1e-30, 1e-17])
def test_a_series_too_small_for_float32_names_its_place_and_the_limit(unit):
    both = pd.concat([series(hours(), unique_id="a"), series(hours(), (np.arange(100.0) % 24) * unit, unique_id="b")])
    with pytest.raises(DataError, match=r"series 'b', 2024-01-01 01:00:00.*of at least 1e-15 in size.*smaller unit"):
        look(both)


def test_a_covariate_that_would_be_taken_for_constant_is_refused():
    table = series(hours(), flux=np.arange(100) * 1e-10)
    with pytest.raises(DataError, match=r"for 'flux'.*of at least 1e-07 in size"):
        look(table, covariates=Covariates(future=("flux",)))


@pytest.mark.parametrize("value", [np.inf, 1e300])
def test_a_static_number_too_large_is_refused(value):
    table = pd.concat([series(hours(), area=3.0), series(hours(), unique_id="b", area=value)])
    with pytest.raises(DataError, match=r"static covariate 'area' of series 'b'.*at most 1e\+15"):
        look(table, covariates=Covariates(static=("area",)))


@pytest.mark.parametrize("unit", [1e-320, 1e-30])
def test_small_values_beside_usual_ones_and_zeros_pass(unit):
    y = np.arange(100.0) % 24
    y[50] = unit
    assert codes(look(series(hours(), y))) == []
    assert codes(look(series(hours(), y * 0))) == ["constant"]


def test_small_steps_at_a_high_level_are_data_until_float64_has_no_digits_for_them():
    assert codes(look(series(hours(96), 1e9 + np.arange(96) * 200.5))) == []
    assert codes(look(series(hours(), 1e9 + 0.5 * (np.arange(100) % 24)))) == []
    examined = look(series(hours(), 1e14 + np.arange(100.0) % 24))
    assert codes(examined) == ["narrow"]
    assert "'a', about 1e+14" in examined.findings[0].message


@pytest.mark.parametrize("unit", [checks.LARGEST / 100, checks.SMALLEST / 10])
@pytest.mark.parametrize("normalisation", ["mean_std", "last"])
def test_within_the_limits_a_unit_does_not_change_what_the_network_sees(unit, normalisation):
    values = 10 + torch.randn(4, 1500, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    usual, scaled = (normalise_context(v.float(), normalisation)[0] for v in (values, values * unit))
    assert torch.allclose(usual, scaled, atol=1e-5)


def test_all_that_is_wrong_is_said_at_once():
    """Gaps that the policy refuses, a covariate that changes, and one with a hole: three things, one message."""
    days = pd.date_range("2024-01-01", periods=40).delete([5, 9])
    frame = pd.DataFrame({"ds": days, "y": np.arange(38.0), "region": ["n"] * 20 + ["s"] * 18, "holiday": 0.0})
    frame.loc[3, "holiday"] = np.nan
    raw = RawSeries(frame.assign(unique_id="a"), Source(path="x.csv"))
    covariates = {"static": ["region"], "future": ["holiday"]}
    config = PipelineConfig(source=raw.source, missing="error", covariates=covariates)
    with pytest.raises(ManyDataError) as caught:
        examine(raw, config)
    told = caught.value.messages
    assert len(told) == 3 and "\n  3. " in str(caught.value)
    assert "'region' changes" in told[0] and "2 steps without a value" in told[1]
    assert "'holiday' is missing" in told[2]


def test_what_follows_from_an_error_is_not_said_beside_it():
    days = pd.date_range("2024-01-01", periods=20).append(pd.DatetimeIndex(["2024-01-03", "2024-01-05 07:00"]))
    raw = RawSeries(pd.DataFrame({"unique_id": "a", "ds": days, "y": np.arange(22.0)}), Source(path="x.csv"))
    with pytest.raises(DataError, match="for one timestamp") as caught:
        examine(raw, PipelineConfig(source=raw.source))
    assert not isinstance(caught.value, ManyDataError)


def test_messages_name_moments_as_the_source_has_them():
    local = pd.date_range("2024-06-01", periods=100, freq="h").delete(slice(20, 80))
    with pytest.raises(DataError, match=r"between series 'a', 2024-06-01 19:00:00, and 2024-06-04 08:00:00"):
        look(series(local), timezone="Europe/Berlin")


def test_the_way_out_is_written_as_a_flag_too():
    local = hours(300, "2024-10-20").tz_localize("UTC").tz_convert("Europe/Berlin").tz_localize(None)
    with pytest.raises(DataError, match=r"source\.timezone to their zone \(--timezone Europe/Berlin"):
        look(series(local))


def test_a_series_of_another_frequency_is_not_offered_as_zeros():
    monthly = series(pd.date_range("2022-01-01", periods=24, freq="MS"), np.arange(24) % 5, unique_id="monthly")
    daily = [series(pd.date_range("2022-01-01", periods=700), np.arange(700) % 7, unique_id=name) for name in "ab"]
    with pytest.raises(DataError, match=r"'monthly'.* source of its own") as refused:
        look(pd.concat([*daily, monthly]))
    assert "zero" not in str(refused.value)
