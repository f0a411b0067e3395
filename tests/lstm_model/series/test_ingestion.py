"""Raw rows become a series table and the facts about it, or nothing is written."""

import pandas as pd
import pytest

from lstm_model.contracts.findings import DataError
from lstm_model.contracts.settings import Covariates, PipelineConfig, Source
from lstm_model.series.ingestion import write_series
from lstm_model.sources.raw_series import read_source

DAYS = pd.date_range("2024-01-01", periods=120, freq="D")


def write(tmp_path, frame):
    frame.to_csv(tmp_path / "sales.csv", index=False)
    source = Source(kind="files", path=str(tmp_path / "sales.csv"))
    raw = read_source(source, covariates=Covariates())
    return write_series(raw, PipelineConfig(source=source), tmp_path / "series.parquet")


def test_the_metadata_tell_of_the_table_that_was_written(tmp_path):
    frame = pd.DataFrame({"shop": "a", "day": DAYS.strftime("%Y-%m-%d"), "sold": range(120)}).drop(index=[50, 51])
    found = write(tmp_path, frame)
    table = pd.read_parquet(tmp_path / "series.parquet")
    assert found.num_rows == len(table) == 120
    assert found.meta.repaired == 2 == (~table["observed"]).sum()
    assert (found.meta.profile.frequency, found.meta.profile.num_observed) == ("D", 118)
    assert found.meta.source.columns.y == "sold"
    assert {"frequency", "y"} <= {name.split(".")[-1] for name in found.meta.reasons}, found.meta.reasons


def test_data_that_the_doctor_refuses_leave_no_table(tmp_path):
    twice = pd.DataFrame({"shop": "a", "day": ["2024-01-01"] * 60, "sold": range(60)})
    with pytest.raises(DataError):
        write(tmp_path, twice)
    assert not (tmp_path / "series.parquet").exists()
