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
