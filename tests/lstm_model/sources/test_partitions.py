"""Files of one source: Hive partitions, files that continue each other, files of other types, and empty ones."""

import numpy as np
import pandas as pd
import pytest

from lstm_model.contracts.findings import DataError
from lstm_model.contracts.settings import Covariates, Source
from lstm_model.contracts.shard import IdRange
from lstm_model.sources.parquet import survey_parquet
from lstm_model.sources.raw_series import read_source


def make_rows(first="2021-01-01", periods=365, start=0.0):
    return pd.DataFrame({"day": pd.date_range(first, periods=periods), "load": start + np.arange(periods)})


def write(path, frame):
    path.parent.mkdir(parents=True, exist_ok=True)
    frame.to_csv(path, index=False) if path.suffix == ".csv" else frame.to_parquet(path, index=False)


def read(path, **settings):
    return read_source(Source(kind="files", path=str(path), **settings), covariates=Covariates())


def count_rows(raw):
    return raw.table["unique_id"].value_counts().to_dict()


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_the_keys_of_folders_name_series_and_their_parts_of_dates_do_not(tmp_path, kind):
    for region in ("north", "São%20Paulo", "0100"):
        for year in (2021, 2022):
            write(tmp_path / f"region={region}" / f"year={year}" / f"part-0.{kind}", make_rows(f"{year}-01-01"))
    raw = read(tmp_path / "**" / f"*.{kind}")
    assert count_rows(raw) == {"north": 730, "São Paulo": 730, "0100": 730}
    assert "region" in raw.reasons["partitions"]


def test_a_folder_of_folders_offers_a_glob_that_finds_its_files(tmp_path):
    write(tmp_path / "region=n" / "a.parquet", make_rows())
    with pytest.raises(DataError, match=r"is a folder; name its files with a glob such as .*/\*\*/\*\.parquet"):
        read(tmp_path)


@pytest.mark.parametrize(
    "names", [("load_2021", "load_2022", "load_2023"), ("part-0", "part-1", "part-2"), ("2021", "2022", "2023")]
)
def test_files_that_follow_each_other_are_one_series(tmp_path, names):
    for name, year in zip(names, (2021, 2022, 2023), strict=True):
        write(tmp_path / f"{name}.csv", make_rows(f"{year}-01-01"))
    raw = read(tmp_path / "*.csv")
    assert list(count_rows(raw).values()) == [1095]
    assert "follow each other" in raw.reasons["files_are"]
    assert len(count_rows(read(tmp_path / "*.csv", files_are="series"))) == 3


def test_files_of_one_time_are_series_and_other_names_or_touching_times_are_asked_about(tmp_path):
    for name in ("shop1", "shop2"):
        write(tmp_path / "same" / f"{name}.csv", make_rows())
    assert count_rows(read(tmp_path / "same" / "*.csv")) == {"shop1": 365, "shop2": 365}
    for folder, names, second in (
        ("words", ("bern", "basel"), "2022-01-01"),
        ("touch", ("a1", "a2"), "2021-12-31"),
        ("gap", ("a1", "a2"), "2022-03-01"),
    ):
        write(tmp_path / folder / f"{names[0]}.csv", make_rows())
        write(tmp_path / folder / f"{names[1]}.csv", make_rows(second))
        with pytest.raises(DataError, match=r"parts of one series, or a series each.*source\.files_are"):
            read(tmp_path / folder / "*.csv")


def test_empty_parts_and_files_beside_the_data_are_left_out_and_told(tmp_path):
    write(tmp_path / "a.parquet", make_rows().assign(id="a"))
    write(tmp_path / "b.parquet", make_rows().assign(id="b").iloc[:0])
    for name in ("_SUCCESS", ".a.parquet.crc", "notes.md"):
        (tmp_path / name).write_text("x")
    raw = read(tmp_path / "*")
    assert count_rows(raw) == {"a": 365}
    assert "b.parquet" in raw.reasons["empty files"]
    assert "notes.md" in raw.reasons["other files"]


@pytest.mark.parametrize(
    ("ids", "values"),
    [
        (([1.0, 2.0], ["1", "2"]), (np.float64, np.float32)),
        (([1, 2], ["1", "2"]), (np.int64, np.float64)),
        ((["1", "2"], pd.Categorical(["1", "2"])), (np.int32, object)),
    ],
)
def test_files_of_different_types_have_the_same_rows_with_and_without_shards(tmp_path, ids, values):
    for i in range(2):
        rows = [make_rows(f"202{i}-01-01").assign(id=name) for name in ids[i]]
        frame = pd.concat(rows, ignore_index=True).astype({"load": values[i]})
        frame["id"] = frame["id"].astype(getattr(ids[i], "dtype", None) or type(ids[i][0]))
        write(tmp_path / f"{i}.parquet", frame)
    path = tmp_path / "*.parquet"
    whole = read(path)
    assert count_rows(whole) == {"1": 730, "2": 730}
    settled, rows = survey_parquet(Source(kind="files", path=str(path)), Covariates())
    assert rows == {"1": 730, "2": 730}
    part = read_source(settled, covariates=Covariates(), only=IdRange(first=None, before="2"))
    expected = whole.table[whole.table["unique_id"] == "1"].reset_index(drop=True)
    pd.testing.assert_frame_equal(part.table.reset_index(drop=True), expected)


def test_files_with_and_without_a_time_zone_are_named(tmp_path):
    for name, zone in (("a", None), ("b", "UTC")):
        frame = make_rows().assign(id="x")
        write(tmp_path / f"{name}.parquet", frame.assign(day=frame["day"].dt.tz_localize(zone)))
    with pytest.raises(DataError, match=r"b\.parquet has timestamps with a time zone, a\.parquet"):
        read(tmp_path / "*.parquet")
