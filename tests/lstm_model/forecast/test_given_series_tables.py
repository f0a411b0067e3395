"""The command without Prefect, given Parquet files with the columns of a series table that anybody may have written."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from lstm_model.contracts.bundle_card import name_covariates, read_model_card
from lstm_model.contracts.settings import PipelineConfig
from lstm_model.forecast.__main__ import main
from lstm_model.forecast.predict import forecast
from lstm_model.series.ingestion import write_series
from lstm_model.sources.raw_series import read_source

GOLDEN = Path(__file__).parents[2] / "golden" / "v1"
BUNDLE = GOLDEN / "bundle"


@pytest.fixture
def ingested(tmp_path):
    """A table that ingest wrote: with repaired gaps, rows of the future, and covariates of every kind."""
    card = read_model_card(BUNDLE)
    wanted = PipelineConfig.model_validate({k: card.config[k] for k in ("source", "horizon", "season", "missing")})
    raw = pd.read_csv(GOLDEN / "series.csv")
    raw.loc[[20, 21, 60], "sold"] = np.nan
    raw.to_csv(tmp_path / "gaps.csv", index=False)
    source = wanted.source.model_copy(update={"path": str(tmp_path / "gaps.csv")})
    config = wanted.model_copy(
        update={"source": source, "covariates": name_covariates(card.covariates), "frequency": card.frequency}
    )
    write_series(read_source(source, covariates=config.covariates), config, tmp_path / "series.parquet")
    table = pd.read_parquet(tmp_path / "series.parquet")
    assert (~table["observed"] & table["y"].notna()).sum() == 3 and table["y"].isna().any()
    return table


def run(table, tmp_path, capsys, name="given.parquet"):
    """The exit code, what was said, and the forecasts."""
    table.to_parquet(tmp_path / name, index=False)
    output = tmp_path / "next.parquet"
    output.unlink(missing_ok=True)
    code = main([str(BUNDLE), str(tmp_path / name), "--output", str(output)])
    said = capsys.readouterr().err
    assert output.exists() == (code == 0)
    return code, said, pd.read_parquet(output).drop(columns="model_version") if code == 0 else None


@pytest.mark.parametrize("name", ["given.parquet", "given.PQ"])
def test_a_table_that_ingest_wrote_gives_the_forecasts_of_the_pipeline(ingested, tmp_path, capsys, name):
    code, said, found = run(ingested, tmp_path, capsys, name)
    expected = forecast(BUNDLE, tmp_path / "series.parquet").table
    assert code == 0 and "repair:" not in said
    pd.testing.assert_frame_equal(found, expected, check_exact=True)


def test_the_order_of_rows_and_identical_copies_of_them_change_nothing(ingested, tmp_path, capsys):
    expected = run(ingested, tmp_path, capsys)[2]
    mixed = pd.concat([ingested, ingested.iloc[[5]]]).sample(frac=1, random_state=0)
    code, _, found = run(mixed, tmp_path, capsys)
    assert code == 0 and found.equals(expected)


def put(name, row, value):
    """A change of one value."""

    def change(table):
        table = table.astype({name: object}) if table[name].dtype != "float64" else table
        table.loc[table.index[row], name] = value
        return table

    return change


def mark_series(table):
    table.loc[table["unique_id"] == table["unique_id"].iloc[0], "observed"] = False
    return table


UNTRUE = {
    "observed as text": (lambda t: t.assign(observed=t["observed"].astype(str)), "'observed' is of type"),
    "observed as numbers": (lambda t: t.assign(observed=t["observed"].astype(float)), "'observed' is of type double"),
    "nothing observed": (lambda t: t.assign(observed=False), r"row 1 of given.parquet .* observed is false in all"),
    "a series without": (mark_series, r"row 1 of given.parquet .* observed is false in all rows of this series"),
    "observed unknown": (put("observed", 3, None), "in row 4 of given.parquet .* observed is empty"),
    "names as numbers": (lambda t: t.assign(unique_id=pd.factorize(t["unique_id"])[0]), "'unique_id' is of type int64"),
    "no name": (put("unique_id", 7, None), "in row 8 of given.parquet .* unique_id is empty"),
    "a blank name": (put("unique_id", 7, " "), "in row 8 of given.parquet .* unique_id is blank"),
    "NaN observed": (put("y", 30, np.nan), "in row 31 of given.parquet .* observed is true, but y is empty"),
    "all NaN": (lambda t: t.assign(y=np.nan), "in row 1 of given.parquet .* observed is true, but y is empty"),
    "y as text": (lambda t: t.assign(y=t["y"].astype(str)), "'y' is of type"),
    "a time zone": (lambda t: t.assign(ds=t["ds"].dt.tz_localize("UTC")), "expected timestamps without a zone"),
    "no timestamp": (put("ds", 2, None), "in row 3 of given.parquet .* ds is empty"),
    "dates as numbers": (
        lambda t: t.assign(ds=t["ds"].dt.strftime("%Y%m%d").astype(int)), "ds holds no steps: .*2024-03-22",
    ),
    "other steps": (lambda t: t.assign(ds=np.arange(len(t))), "expected 1, because timestamps are integers"),
    "a timestamp between": (put("ds", 25, pd.Timestamp("2024-03-12 13:07")), "irregular timestamps"),
    "extreme": (put("y", 30, 1e300), "1e\\+300"),
    "no rows": (lambda t: t.iloc[:0], "has no rows"),
    "no covariate": (lambda t: t.iloc[:, :4], "the bundle reads the static covariate"),
}  # fmt: skip


@pytest.mark.parametrize("name", UNTRUE)
def test_a_table_that_contradicts_itself_is_refused(ingested, tmp_path, capsys, name):
    change, message = UNTRUE[name]
    code, said, _ = run(change(ingested.copy()), tmp_path, capsys)
    assert code == 2 and said.startswith("error: ") and said.count("\n") == 1
    pd.testing.assert_series_equal(pd.Series([said]).str.contains(message), pd.Series([True]), obj=said)


def test_a_damaged_file_is_told_with_its_name(ingested, tmp_path, capsys):
    ingested.to_parquet(tmp_path / "given.parquet", index=False)
    content = (tmp_path / "given.parquet").read_bytes()
    (tmp_path / "given.parquet").write_bytes(content[: len(content) // 2])
    assert main([str(BUNDLE), str(tmp_path / "given.parquet")]) == 2
    assert "given.parquet cannot be read as Parquet" in capsys.readouterr().err


def test_a_gap_in_it_is_filled_as_in_any_source_and_told(ingested, tmp_path, capsys):
    gap = ingested.copy()
    gap.loc[ingested.index[ingested["observed"]][40], ["y", "observed"]] = [np.nan, False]
    code, said, found = run(gap, tmp_path, capsys)
    assert code == 0 and "repair: 1 step without a value in 1 series" in said
    assert np.isfinite(found["mean"]).all()
