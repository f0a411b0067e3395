"""Covariates that are texts: yes and no are numbers, other texts are categories."""

import gzip

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lstm_model.contracts.findings import DataError
from lstm_model.contracts.settings import Columns, Covariates, Source
from lstm_model.sources.raw_series import read_source

DAYS = pd.date_range("2024-01-01", periods=60)
PROMO = np.array(["none", "flyer", "tv"])[np.arange(60) % 3]


def read(path, role="future", **settings):
    source = Source(kind="files", path=str(path), **{"columns": Columns(y="y"), **settings})
    return read_source(source, covariates=Covariates(**{role: ["promo"]})).table["promo"]


def frame(promo):
    return pd.DataFrame({"ds": DAYS[: len(promo)], "y": np.arange(len(promo)) + 0.5, "promo": promo})


@pytest.mark.parametrize("role", ["past", "future"])
@pytest.mark.parametrize(
    "style",
    [
        {},
        {"sep": ";", "decimal": ","},
        {"sep": "\t", "encoding": "utf-16"},
        {"sep": "|", "quoting": 1},
        {"date_format": "%d.%m.%Y"},
    ],
    ids=["comma", "german", "utf-16", "quoted", "dotted"],
)
def test_categories_of_text_files_of_many_dialects(tmp_path, role, style):
    frame(PROMO).to_csv(tmp_path / "d.csv", index=False, **style)
    found = read(tmp_path / "d.csv", role, dayfirst=True if "date_format" in style else None)
    assert found.tolist() == PROMO.tolist() and list(found.cat.categories) == ["flyer", "none", "tv"]


def test_none_and_accents_are_categories_and_blanks_are_missing(tmp_path):
    promo = ["none", " Straße ", "", "  ", "-", "none"] * 5
    frame(promo).to_csv(tmp_path / "d.csv.gz", index=False)
    with gzip.open(tmp_path / "d.csv.gz") as text:
        assert "Straße" in text.read().decode()
    found = read(tmp_path / "d.csv.gz")
    assert found.iloc[:6].dropna().tolist() == ["none", "Straße", "-", "none"]
    assert found.isna().tolist() == [False, False, True, True, False, False] * 5


def test_several_files_have_the_categories_of_all(tmp_path):
    for number, promo in enumerate((["sun", ""], ["rain", "sun"], ["", ""], ["1", "2"])):
        rows = frame([*promo] * 10).assign(ds=pd.date_range(f"2024-0{number + 1}-01", periods=20))
        rows.to_csv(tmp_path / f"{number}.csv", index=False)
    rows = frame(["rain", "no"] * 10).assign(ds=pd.date_range("2024-06-01", periods=20))
    rows.to_parquet(tmp_path / "5.parquet", index=False)
    found = read(tmp_path / "*", files_are="parts")
    assert list(found.cat.categories) == ["1", "2", "no", "rain", "sun"]
    assert found.isna().sum() == 30


@pytest.mark.parametrize("kind", ["dictionary", "large", "view"])
def test_texts_of_every_type_of_parquet(tmp_path, kind):
    texts = {"dictionary": pa.dictionary(pa.int8(), pa.string()), "large": pa.large_string(), "view": pa.string()}
    table = pa.Table.from_pandas(frame(PROMO), preserve_index=False)
    table = table.set_column(2, "promo", pa.array(PROMO.tolist()).cast(texts[kind]))
    pq.write_table(table, tmp_path / "d.parquet")
    assert read(tmp_path / "d.parquet").tolist() == PROMO.tolist()


@pytest.mark.parametrize(
    "promo",
    [
        pa.array([True, False] * 30),
        pa.array([True, False] * 30).dictionary_encode(),
        pa.array([1, 0] * 30).dictionary_encode(),
        pa.array(["yes", "no"] * 30).dictionary_encode(),
    ],
    ids=["bool", "bool dictionary", "int dictionary", "text dictionary"],
)
def test_yes_and_no_of_parquet_are_one_and_zero(tmp_path, promo):
    table = pa.Table.from_pandas(frame(PROMO), preserve_index=False).set_column(2, "promo", promo)
    pq.write_table(table, tmp_path / "d.parquet")
    assert read(tmp_path / "d.parquet").tolist() == [1.0, 0.0] * 30


def test_yes_alone_beside_empty_cells_is_a_category(tmp_path):
    """The empty cells may mean no: to fill them with the last yes would be wrong."""
    frame(["x", "", ""] * 10).to_csv(tmp_path / "d.csv", index=False)
    found = read(tmp_path / "d.csv", "past")
    assert list(found.cat.categories) == ["x"] and found.isna().tolist() == [False, True, True] * 10


def test_numbers_stay_numbers_and_a_typo_among_them_is_an_error(tmp_path):
    frame(["007", "008", "12"] * 10).to_csv(tmp_path / "codes.csv", index=False)
    assert read(tmp_path / "codes.csv").tolist() == [7.0, 8.0, 12.0] * 10
    frame([*map(str, range(29)), "1o"]).to_csv(tmp_path / "typo.csv", index=False)
    with pytest.raises(DataError, match=r"column 'promo': received '1o', expected a number"):
        read(tmp_path / "typo.csv")


def test_too_many_categories_are_refused(tmp_path):
    notes = [chr(97 + i // 26) + chr(97 + i % 26) + " text" for i in range(65)]
    days = pd.date_range("2024-01-01", periods=65)
    many = pd.DataFrame({"ds": days, "y": np.arange(65), "promo": notes})
    many.to_csv(tmp_path / "d.csv", index=False)
    with pytest.raises(
        DataError, match=r"'promo' has 65 different texts \(aa text, .*at most 64 .*Group the rare ones"
    ):
        read(tmp_path / "d.csv")
    many.iloc[:64].to_csv(tmp_path / "d.csv", index=False)
    assert len(read(tmp_path / "d.csv").cat.categories) == 64


def test_a_text_that_nobody_declares_stays_out(tmp_path):
    frame(PROMO).to_csv(tmp_path / "d.csv", index=False)
    source = Source(kind="files", path=str(tmp_path / "d.csv"), columns=Columns(y="y"))
    assert "promo" not in read_source(source, covariates=Covariates()).table
