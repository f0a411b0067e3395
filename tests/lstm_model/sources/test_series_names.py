import numpy as np
import pandas as pd
import pytest

from lstm_model.contracts.settings import Columns, Covariates, PipelineConfig, Source
from lstm_model.quality.doctor import DataError, examine
from lstm_model.sources.raw_series import read_source
from lstm_model.sources.series_names import take_ids


def read(path, *, static=(), layout="auto", **columns):
    source = Source(kind="files", path=str(path), layout=layout, columns=Columns(**columns))
    return read_source(source, covariates=Covariates(static=static))


def write(tmp_path, text, name="d.csv"):
    (tmp_path / name).write_text(text, encoding="utf-8")
    return tmp_path / name


@pytest.mark.parametrize("column", ["id", "code"])
@pytest.mark.parametrize(
    "names", [("1.1", "1.10"), ("1E5", "10E4"), ("0100", "100"), ("+1", "1"), ("1.0", "1"), ("1e3", "NA")]
)
def test_names_are_what_is_written(tmp_path, column, names):
    rows = "".join(f"{name},2024-01-{day:02},{day}\n" for name in names for day in range(1, 11))
    raw = read(write(tmp_path, f"{column},ds,y\n{rows}"), unique_id=column if column == "code" else None)
    assert raw.table["unique_id"].unique().tolist() == list(names)


def stores(first="store", second="item"):
    days = pd.date_range("2024-01-01", periods=12)
    return pd.DataFrame(
        [(day, s, i, s * i) for s in (1, 2) for i in (1, 2) for day in days], columns=["date", first, second, "sales"]
    )


@pytest.mark.parametrize("ids", ["store,item", ["store", "item"], "store, item"])
@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_several_columns_name_the_series_together(tmp_path, ids, suffix):
    path = tmp_path / f"d.{suffix}"
    stores().to_csv(path, index=False) if suffix == "csv" else stores().to_parquet(path, index=False)
    raw = read(path, unique_id=ids, y="sales")
    assert raw.table["unique_id"].unique().tolist() == ["1/1", "1/2", "2/1", "2/2"]
    again = read_source(raw.source, covariates=Covariates())
    pd.testing.assert_frame_equal(again.table, raw.table)


def test_columns_that_tell_rows_apart_are_offered(tmp_path):
    stores().to_csv(tmp_path / "d.csv", index=False)
    for given in (None, "item"):
        raw = read(tmp_path / "d.csv", y="sales", unique_id=given)
        with pytest.raises(DataError, match="--id-column store,item" if given is None else "--id-column item,store"):
            examine(raw, PipelineConfig(source=raw.source))


def test_two_columns_of_texts_name_the_series_where_neither_does_alone(tmp_path):
    frame = stores().replace({"store": {1: "north", 2: "south"}, "item": {1: "tea", 2: "jam"}})
    frame.to_csv(tmp_path / "d.csv", index=False)
    raw = read(tmp_path / "d.csv")
    assert raw.table["unique_id"].unique().tolist() == ["north/tea", "north/jam", "south/tea", "south/jam"]
    assert "only together" in raw.reasons["columns.unique_id"]
    alone = frame[frame["item"] == "tea"].assign(item=lambda t: t["store"].map({"north": "hill", "south": "sea"}))
    alone.to_csv(tmp_path / "d.csv", index=False)
    with pytest.raises(DataError, match="more than one column could name the series: store, item"):
        read(tmp_path / "d.csv")
    frame.assign(item="tea")[frame["item"] == "tea"].to_csv(tmp_path / "d.csv", index=False)
    assert read(tmp_path / "d.csv").table["unique_id"].unique().tolist() == ["north", "south"]


def test_joined_names_that_would_be_one_are_refused():
    frame = pd.DataFrame({"a": ["x/y", "x"], "b": ["z", "y/z"]})
    with pytest.raises(DataError, match="have values with / in them"):
        take_ids(frame, "a,b")


def test_a_counter_of_rows_names_no_series(tmp_path):
    frame = stores().rename_axis("id").reset_index()
    frame.to_csv(tmp_path / "d.csv", index=False)
    assert read(tmp_path / "d.csv", unique_id="store,item", y="sales").table["unique_id"].nunique() == 4
    raw = read(tmp_path / "d.csv", y="sales")
    assert raw.source.columns.unique_id is None


def test_series_that_follow_each_other_or_parts_of_one_are_asked_about(tmp_path):
    days = pd.date_range("2024-01-01", periods=40)
    frame = pd.DataFrame({"site": ["old"] * 20 + ["new"] * 20, "date": days, "load": np.arange(40)})
    frame.to_csv(tmp_path / "d.csv", index=False)
    with pytest.raises(DataError, match=r"'site' changes once from 'old' to 'new'.*--id-column site.*--id-column ''"):
        read(tmp_path / "d.csv")
    assert read(tmp_path / "d.csv", unique_id="site").table["unique_id"].unique().tolist() == ["old", "new"]
    one = read(tmp_path / "d.csv", unique_id="")
    assert one.table["unique_id"].unique().tolist() == ["d"]
    assert read_source(one.source, covariates=Covariates()).table.equals(one.table)


def test_rows_of_series_with_static_columns_before_the_steps(tmp_path):
    header = "id,dept,capacity," + ",".join(f"d_{i}" for i in range(1, 9))
    text = header + "".join(f"\nX{k},H,{k}0," + ",".join(str(k * 10 + i) for i in range(8)) for k in (1, 2, 3))
    raw = read(write(tmp_path, text), static=["capacity"])
    assert raw.source.layout == "wide_rows"
    assert raw.table.groupby("unique_id")["y"].apply(list).loc["X2"] == [20 + i for i in range(8)]
    assert raw.table.groupby("unique_id")["capacity"].first().astype(int).tolist() == [10, 20, 30]
    assert "dept" in raw.reasons["ignored columns"]
    twice = text.replace("X2", "X1")
    with pytest.raises(DataError, match="more than one row has 'X1' in the column 'id'"):
        read(write(tmp_path, twice), layout="wide_rows", unique_id="id")


def test_steps_that_do_not_all_count_on_are_not_cut_to_those_that_do(tmp_path):
    header = "site," + ",".join(f"d{i}" for i in [1, 2, 3, 7, 8, 9, 10])
    text = header + "".join(f"\ns{k}," + ",".join("1234567") for k in (1, 2))
    with pytest.raises(DataError, match="no column of timestamps found"):
        read(write(tmp_path, text))


def test_equal_values_of_two_series_are_no_duplicates(tmp_path):
    stores().assign(sales=5).to_csv(tmp_path / "d.csv", index=False)
    raw = read(tmp_path / "d.csv", y="sales")
    with pytest.raises(DataError, match=r"values 5 and 5 for one timestamp.*--id-column store,item"):
        examine(raw, PipelineConfig(source=raw.source))


@pytest.mark.parametrize("other", ["north", "NORTH", "Nor th", "Ｎorth"])
def test_names_that_look_alike_stay_apart_and_are_told(tmp_path, other):
    rows = "".join(f"{name},2024-01-{day:02},{day}\n" for name in ("North", other) for day in range(1, 11))
    raw = read(write(tmp_path, f"id,ds,y\n{rows}"))
    examined = examine(raw, PipelineConfig(source=raw.source))
    assert examined.table["unique_id"].nunique() == 2
    assert [finding.code for finding in examined.findings] == ["similar_names"]


def test_names_that_differ_in_outer_blanks_are_one_series_and_told(tmp_path):
    names = [(day, name) for day in range(1, 17) for name in ("south", "north" if day < 9 else "north ")]
    rows = "".join(f"2024-01-{day:02},{name},{day}\n" for day, name in names)
    found = read(write(tmp_path, f"date,shop,sales\n{rows}"))
    assert set(found.table["unique_id"]) == {"north", "south"}
    assert [one.code for one in found.findings] == ["joined_names"]
    assert "1 series is written with and without outer blanks" in found.findings[0].message
