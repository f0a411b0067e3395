"""A single flipped bit is told, wherever in a file it is."""

import random

import pyarrow as pa
import pyarrow.dataset as pads
import pytest
from pydantic import BaseModel

from lstm_model.storage import checked_parquet
from lstm_model.storage.checked_parquet import CheckedParquet, dump_table
from lstm_model.storage.checksums import BLANK, DamagedFileError, dump_json, load_json


class Note(BaseModel):
    name: str
    value: float | None = None


def flip(content, at, bit):
    return content[:at] + bytes([content[at] ^ 1 << bit]) + content[at + 1 :]


def test_every_flipped_bit_of_a_json_file_is_told():
    whole = dump_json(Note(name="ä"), "notes/a")
    assert load_json(whole, "notes/a", "note") == {"name": "ä", "value": None}
    for at in range(len(whole)):
        for bit in range(8):
            with pytest.raises(DamagedFileError, match=r"note (is not what was written|has no checksum)"):
                load_json(flip(whole, at, bit), "notes/a", "note")


def test_content_that_looks_like_a_checksum_is_content():
    assert load_json(dump_json(Note(name=BLANK), "a"), "a", "note")["name"] == BLANK


def test_a_file_that_was_written_under_another_name_is_told():
    with pytest.raises(DamagedFileError, match="store/b was written as 'notes/a': it was renamed or copied"):
        load_json(dump_json(Note(name=""), "notes/a"), "notes/b", "store/b")


@pytest.fixture
def table():
    """Six row groups of four rows, with a name that looks like a checksum in the footer's statistics."""
    names = [BLANK, *(f"name {i}" for i in range(23))]
    return pa.table({"name": names, "number": pa.array(range(24), pa.int64())})


@pytest.fixture
def whole(table, monkeypatch):
    monkeypatch.setattr(checked_parquet, "ROW_GROUP_ROWS", 4)
    return dump_table(table)


@pytest.mark.parametrize("suffix", ["", "file"])
def test_a_table_is_read_whole_or_in_part(whole, table, tmp_path, suffix):
    (tmp_path / "file").write_bytes(whole)
    file = CheckedParquet(tmp_path / suffix if suffix else whole, "t.parquet")
    assert file.read().equals(table) and file.schema == table.schema
    assert file.read(condition=pads.field("number") > 21, columns=["name"])["name"].to_pylist() == [
        "name 21",
        "name 22",
    ]
    assert file.read_last_rows(["number"])["number"].to_pylist() == [20, 21, 22, 23]
    assert CheckedParquet(dump_table(table.slice(0, 0)), "t.parquet").read().num_rows == 0


def test_a_flipped_bit_of_a_table_is_told_by_whoever_reads_that_part(whole, table):
    """And by nobody else: a question about the newest rows does not read the oldest."""
    dice, end = random.Random(0), CheckedParquet(whole, "t.parquet")._row_groups[1][0]
    for at in range(len(whole)):
        with pytest.raises(DamagedFileError, match=r"t\.parquet"):
            CheckedParquet(flip(whole, at, dice.randrange(8)), "t.parquet").read()
    first = CheckedParquet(flip(whole, end - 1, 0), "t.parquet")
    assert first.read(condition=pads.field("number") > 21).num_rows == 2
    assert first.read_last_rows(["number"]).num_rows == 4
    with pytest.raises(DamagedFileError, match="row group 0 is damaged"):
        first.read(condition=pads.field("number") == 3)


@pytest.mark.parametrize("damage", [lambda c: c[:-1], lambda c: c[9:], lambda c: c[:40] + c[41:], lambda c: b""])
def test_a_table_that_lost_bytes_is_told(whole, damage):
    with pytest.raises(DamagedFileError, match=r"t\.parquet"):
        CheckedParquet(damage(whole), "t.parquet").read()
