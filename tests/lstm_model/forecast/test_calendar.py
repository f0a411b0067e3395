"""A calendar that needs no file: computed, trained on, kept in a bundle, and forecast from."""

import sys

import numpy as np
import pandas as pd
import pytest

from lstm_model.compute.device import DeviceChoice
from lstm_model.contracts.bundle_card import name_covariates, read_model_card
from lstm_model.contracts.calendar_features import CalendarFeatures, HolidayDates
from lstm_model.contracts.clock import Clock
from lstm_model.contracts.findings import DataError
from lstm_model.contracts.settings import Covariates, ModelSpec, Plan, TrainingSpec, WindowSpec
from lstm_model.contracts.windows_meta import read_windows_meta
from lstm_model.evaluation.held_out import forecast_test
from lstm_model.forecast.__main__ import main
from lstm_model.forecast.bundle import save_bundle
from lstm_model.forecast.predict import forecast
from lstm_model.timeline.calendars import list_dates
from lstm_model.training.train import fit
from lstm_model.windows.in_memory import load_windows
from lstm_model.windows.layout import read_segments
from lstm_model.windows.segments import write_windows
from tests.factories import model_card

HORIZON, END = 28, "2024-03-18"
RULES = ("01-01", "easter-2", "easter+1", "05-01", "easter+39", "10-03", "12-25", "12-26")
DATES = sorted({day for rule in RULES for day in list_dates(rule) if 1991 <= day.year <= 2049})
GERMANY = {"DE": HolidayDates(first_year=1991, last_year=2049, dates=DATES)}
CALENDAR = CalendarFeatures(groups=("weekday", "year", "holiday"), country="DE", holidays=GERMANY)
SPEC = WindowSpec(
    context=28, horizon=HORIZON, season=7, frequency="D", stride=1, evaluation_stride=7, test_steps=56,
    validation_steps=56, align="calendar", pad_short=True,
)  # fmt: skip
MODEL = ModelSpec(
    kind="mixture", hidden_dim=16, layer_dim=2, segment=7, normalisation="mean_std", linear_skip=True, levels=(0.8,)
)  # fmt: skip
TRAINING = TrainingSpec(
    seed=0, device="cpu", precision="fp32", threads=1, max_steps=150, batch_size=64, learning_rate=1e-2,
    weight_decay=0.01, gradient_clip=1.0, patience=20, refit=True,
)  # fmt: skip


def draw_days(ids="ab", end=END, **columns):
    """Three years of days: a wave of a year, and a loss on holidays and on the days before them."""
    rng, ds = np.random.default_rng(0), pd.date_range(end=end, periods=3 * 365 + 1, unit="us")
    holidays = pd.DatetimeIndex(DATES)
    shape = 20 * np.sin(2 * np.pi * ds.day_of_year / 365.25) - 30 * ds.isin(holidays)
    shape = shape - 15 * (ds + pd.Timedelta(days=1)).isin(holidays)
    parts = [
        pd.DataFrame({"unique_id": one, "ds": ds, "y": 100 + 10 * k + shape + rng.normal(size=len(ds)),
                      "observed": True, **{name: values[k] for name, values in columns.items()}})
        for k, one in enumerate(ids)
    ]  # fmt: skip
    return pd.concat(parts, ignore_index=True)


def train(table, folder, calendar, covariates=Covariates(), max_steps=150, **window):  # noqa: B008
    """Cut windows and train on them; return the folder of the bundle."""
    spec = SPEC.model_copy(update={"calendar": calendar, **window})
    write_windows(table, folder / "windows", spec=spec, covariates=covariates)
    meta = read_windows_meta(folder / "windows")
    plan = Plan(window=spec, model=MODEL, training=TRAINING.model_copy(update={"max_steps": max_steps}))
    splits = [load_windows(folder / "windows", split) for split in ("train", "validation")]
    fitted = fit(*splits, plan=plan, scaler=meta.scaler, device=DeviceChoice("cpu", "fp32", 1, "a test"))
    save_bundle(folder / "bundle", fitted.forecaster, model_card(meta))
    return folder / "bundle"


def save(frame, folder):
    folder.mkdir(exist_ok=True)
    frame.to_parquet(folder / "series.parquet", index=False)
    return folder / "series.parquet"


def cut_end(whole, days=HORIZON):
    return whole[whole["ds"] <= whole["ds"].max() - pd.Timedelta(days=days)]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A series table, and the bundle of a model that reads a calendar beside it."""
    folder = tmp_path_factory.mktemp("made")
    train(save(draw_days(), folder), folder, CALENDAR, max_steps=5)
    return folder


def test_a_model_with_the_calendar_beats_the_same_model_without_it(tmp_path):
    """The horizon holds Good Friday and Easter Monday of 2024."""
    whole, holidays = draw_days("abcd", end="2024-04-10"), pd.DatetimeIndex(DATES)
    table, errors = save(cut_end(whole), tmp_path), {}
    for name, calendar in (("with", CALENDAR), ("without", None)):
        (tmp_path / name).mkdir()
        found = forecast(train(table, tmp_path / name, calendar), table).table.merge(whole, on=["unique_id", "ds"])
        assert len(found) == 4 * HORIZON
        error, is_holiday = (found["median"] - found["y"]).abs(), found["ds"].isin(holidays)
        errors[name] = error.mean(), error[is_holiday].mean(), error[~is_holiday].mean()
    every, on_holidays, between = np.divide(errors["with"], errors["without"])
    assert every < 0.85 and between < 0.85 and on_holidays < 0.95, errors


def test_a_bundle_keeps_its_calendar_and_forecasts_without_the_package(made, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "holidays", None)
    card = read_model_card(made / "bundle")
    assert card.covariates.calendar == CALENDAR and card.covariates.future == list(CALENDAR.columns)
    assert name_covariates(card.covariates) == Covariates(), "the series table has no column of a calendar"
    expected = forecast(made / "bundle", made / "series.parquet").table
    assert main([str(made / "bundle"), str(made / "series.parquet"), "--output", str(tmp_path / "f.parquet")]) == 0
    offline = pd.read_parquet(tmp_path / "f.parquet")
    pd.testing.assert_frame_equal(offline[expected.columns], expected, check_exact=True, check_dtype=False)
    draw_days().drop(columns="observed").to_csv(tmp_path / "days.csv", index=False)
    assert main([str(made / "bundle"), str(tmp_path / "days.csv"), "--output", str(tmp_path / "f.csv")]) == 0
    assert np.allclose(pd.read_csv(tmp_path / "f.csv")["median"], expected["median"], rtol=1e-5)


def test_windows_of_the_past_and_forecasts_of_the_future_see_the_same_calendar(made, tmp_path):
    """The last window of the test has its cutoff where a table without the horizon ends."""
    table = made / "series.parquet"
    known = forecast_test(made / "bundle", made / "windows", table, targets=pd.read_parquet(table), spec=SPEC)
    past = known.table[known.table["cutoff"] == known.table["cutoff"].max()]
    ahead = forecast(made / "bundle", save(cut_end(draw_days()), tmp_path)).table
    assert np.allclose(past.sort_values(["unique_id", "ds"])["lstm"], ahead["median"], rtol=1e-5)


def test_a_series_that_ended_is_forecast_from_its_own_end_like_any_other(made, tmp_path):
    whole = draw_days()
    early = (whole["unique_id"] == "b") & (whole["ds"] > "2024-01-31")
    found = forecast(made / "bundle", save(whole[~early], tmp_path)).table.set_index("unique_id")
    alone = forecast(made / "bundle", save(whole[~early & (whole["unique_id"] == "b")], tmp_path / "b")).table
    assert np.array_equal(found.loc["b", "median"], alone["median"])


def test_a_forecast_beyond_the_known_holidays_is_refused(made, tmp_path):
    late = draw_days(end="2049-12-31")
    with pytest.raises(
        DataError, match="knows the holidays of DE through 2049, and the forecast goes on to 2050-01-28"
    ):
        forecast(made / "bundle", save(late, tmp_path))
    assert len(forecast(made / "bundle", save(draw_days(end="2049-12-03"), tmp_path / "in_time")).table)


def test_a_file_of_another_clock_than_the_calendars_is_refused(tmp_path, capsys):
    ds = pd.date_range("2024-01-01", periods=1500, freq="h", unit="us")
    frame = pd.DataFrame({"unique_id": "a", "ds": ds, "y": np.sin(np.arange(1500) / 4), "observed": True})
    calendar = CalendarFeatures(groups=("hour",), clock=Clock(zone="Europe/Berlin", aware=True))
    bundle = train(save(frame, tmp_path), tmp_path, calendar, max_steps=2, frequency="h")
    frame.drop(columns="observed").to_csv(tmp_path / "hours.csv", index=False)
    assert main([str(bundle), str(tmp_path / "hours.csv")]) == 2
    assert (
        "reads a calendar of clocks of Europe/Berlin; the file has timestamps without a zone" in capsys.readouterr().err
    )
    frame.assign(ds=ds.tz_localize("UTC")).drop(columns="observed").to_csv(tmp_path / "aware.csv", index=False)
    assert main([str(bundle), str(tmp_path / "aware.csv"), "--output", str(tmp_path / "f.parquet")]) == 0
    expected = forecast(bundle, tmp_path / "series.parquet").table["median"]
    assert np.allclose(pd.read_parquet(tmp_path / "f.parquet")["median"], expected, rtol=1e-5)


def test_each_series_has_the_holidays_of_its_own_country(tmp_path):
    france = HolidayDates(first_year=1991, last_year=2049, dates=tuple(sorted(list_dates("07-14"))))
    calendar = CalendarFeatures(groups=("holiday",), country_column="land", holidays={**GERMANY, "FR": france})
    covariates = Covariates(static=("land",))
    table = save(draw_days(land=["DE", "FR"]), tmp_path)
    bundle = train(table, tmp_path, calendar, covariates, max_steps=2)
    train_windows = {one.unique_id: one for one in read_segments(tmp_path / "windows", "train")}
    days = pd.date_range(draw_days()["ds"].min(), periods=len(train_windows["a"].values))
    german, french = (train_windows[one].future[:, 0] == 1 for one in "ab")
    assert {*days[german].strftime("%m-%d")} == {
        day.strftime("%m-%d") for day in DATES if days[0].date() <= day <= days[-1].date()
    }
    assert {*days[french].strftime("%m-%d")} == {"07-14"}
    found = forecast(bundle, save(draw_days(land=["DE", "IT"]), tmp_path / "italy"))
    assert any("1 series have 'IT' as static covariate 'land'" in text for text in found.remarks)
    assert np.isfinite(found.table["median"]).all()


def test_covariates_of_the_source_and_of_the_calendar_stand_side_by_side(tmp_path):
    whole = draw_days().assign(promo=lambda t: np.where(t["ds"].dt.day < 4, "tv", "none"), price=1.0)
    covariates, past = Covariates(future=("promo", "price")), whole["ds"] <= whole["ds"].max() - pd.Timedelta(days=28)
    table = save(whole.assign(y=whole["y"].where(past), observed=past), tmp_path)
    bundle = train(table, tmp_path, CALENDAR, covariates, max_steps=2)
    card = read_model_card(bundle)
    assert card.covariates.future == ["promo=none", "promo=tv", "price", *CALENDAR.columns]
    assert name_covariates(card.covariates) == covariates
    assert len(forecast(bundle, table).table) == 2 * HORIZON
    with pytest.raises(DataError, match="the future covariate 'promo' of series 'a' is not known at 2024-02-20"):
        forecast(bundle, save(cut_end(whole), tmp_path / "short"))
