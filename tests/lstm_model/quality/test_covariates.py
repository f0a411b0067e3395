import numpy as np
import pandas as pd
import pytest

from lstm_model.contracts.settings import Columns, Covariates, PipelineConfig, Source
from lstm_model.quality.doctor import DataError, examine
from lstm_model.sources.raw_series import read_source
from tests.lstm_model.quality.test_doctor import codes, look, series

DAYS = pd.date_range("2024-01-01", periods=40)


@pytest.mark.parametrize(("yes", "no"), [("yes", "no"), ("Y", "N"), ("True", "False"), ("ja", "nein"), ("1", "0")])
@pytest.mark.parametrize("role", ["past", "future"])
def test_yes_and_no_are_one_and_zero(tmp_path, yes, no, role):
    promo = np.where(np.arange(40) % 3 == 0, yes, no)
    pd.DataFrame({"ds": DAYS, "y": np.arange(40), "promo": promo}).to_csv(tmp_path / "d.csv", index=False)
    source = Source(kind="files", path=str(tmp_path / "d.csv"), columns=Columns(y="y"))
    covariates = Covariates(**{role: ["promo"]})
    raw = read_source(source, covariates=covariates)
    table = examine(raw, PipelineConfig(source=source, covariates=covariates)).table
    assert table["promo"].tolist() == (np.arange(40) % 3 == 0).astype(float).tolist()


@pytest.mark.parametrize("role", ["past", "future"])
def test_a_covariate_that_begins_a_little_later_shortens_the_history(role):
    mean = pd.Series(np.arange(40.0)).rolling(4).mean()
    examined = look(series(DAYS, mean=mean.to_numpy()), covariates={role: ["mean"]})
    assert codes(examined) == ["leading_hole"]
    assert examined.table["ds"].min() == DAYS[3]
    half = np.where(np.arange(40) < 20, np.nan, 1.0)
    with pytest.raises(DataError, match=r"has no value yet|is missing in the history"):
        look(series(DAYS, mean=half), covariates={role: ["mean"]})


def test_rows_of_the_target_and_rows_of_a_covariate_become_one():
    target = series(DAYS[:36], np.arange(36.0), promo=np.nan)
    promo = series(DAYS, np.full(40, np.nan), promo=np.arange(40.0) % 2)
    for parts in ([target, promo], [promo, target]):
        examined = look(pd.concat(parts), covariates={"future": ["promo"]})
        assert codes(examined) == ["duplicates"]
        assert examined.table["promo"].tolist() == (np.arange(40) % 2).tolist()
        assert examined.table["y"].dropna().tolist() == list(range(36))


def draw_promo(**changes):
    """Forty days, of which every third has a promotion."""
    promo = pd.Categorical(np.where(np.arange(40) % 3 == 0, "tv", "none"))
    return series(DAYS, np.arange(40.0), promo=promo).assign(**changes)


def test_rows_that_are_added_to_a_history_have_no_category_yet():
    with_gap = draw_promo().drop(index=[7, 8])
    examined = look(with_gap, covariates={"past": ["promo"]})
    assert codes(examined) == ["missing", "past_covariate"]
    assert "2 missing values of the past covariate 'promo' taken as none of its" in examined.findings[1].message
    assert examined.table["promo"].isna().to_numpy().nonzero()[0].tolist() == [7, 8]
    assert examined.table["promo"].iloc[9] == "tv"
    with pytest.raises(DataError, match=r"'promo' is missing in the history: .*2024-01-08.*write a text that says so"):
        look(with_gap, covariates={"future": ["promo"]})


def test_a_text_that_begins_later_shortens_no_history():
    promo = pd.Categorical([None] * 3 + ["tv", "none"] * 18 + ["tv"])
    examined = look(draw_promo(promo=promo), covariates={"past": ["promo"]})
    assert codes(examined) == ["past_covariate"] and len(examined.table) == 40


def test_rows_of_one_step_keep_their_text_where_they_agree():
    twice = pd.concat([draw_promo(), draw_promo(y=5.0)], ignore_index=True)
    examined = look(twice, covariates={"future": ["promo"]}, aggregate="sum")
    assert examined.table["promo"].tolist() == draw_promo()["promo"].tolist()
    assert examined.table["y"].tolist() == [5.0 + day for day in range(40)]
    other = draw_promo(y=5.0)
    other.loc[4, "promo"] = "tv"
    with pytest.raises(DataError, match=r"2024-01-05.*have 'none' and 'tv' for the covariate 'promo' \(1 such step"):
        look(pd.concat([draw_promo(), other]), covariates={"future": ["promo"]}, aggregate="sum")


def test_columns_that_are_series_may_share_a_text(tmp_path):
    weather = np.where(np.arange(40) % 3 == 0, "rain", "sun")
    wide = pd.DataFrame({"ds": DAYS, **{f"m{k}": np.arange(40) * k + 1.5 for k in range(1, 4)}, "weather": weather})
    wide.to_csv(tmp_path / "d.csv", index=False)
    covariates = Covariates(past=("weather",))
    raw = read_source(Source(kind="files", path=str(tmp_path / "d.csv")), covariates=covariates)
    table = examine(raw, PipelineConfig(source=raw.source, covariates=covariates)).table
    assert table["unique_id"].unique().tolist() == ["m1", "m2", "m3"]
    assert table["weather"].tolist() == weather.tolist() * 3


@pytest.mark.parametrize(("level", "expected"), [(1e9, ["rounded"]), (1e3, [])])
def test_a_covariate_whose_changes_float32_rounds_is_told(level, expected):
    meter = level + 0.5 * (np.arange(len(DAYS)) % 7)
    found = look(series(DAYS, meter=meter), covariates={"past": ["meter"]}).findings
    assert [one.code for one in found] == expected
    assert all("covariate 'meter'" in one.message and "subtract the level" in one.message for one in found)


def test_means_of_equal_values_are_not_taken_for_rounded_changes():
    price = 19.99 + 4e-15 * (np.arange(len(DAYS)) % 2)
    found = look(series(DAYS, price=price), covariates={"past": ["price"]}).findings
    assert "rounded" not in [one.code for one in found]
