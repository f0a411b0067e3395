"""Files that are damaged, mislabelled or no files at all: either series or a clear error that names the file."""

import bz2
import gzip
import io
import lzma
import os
import random
import socket
import time
import tracemalloc

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lstm_model.contracts.findings import DataError
from lstm_model.contracts.settings import Covariates, PipelineConfig, Source
from lstm_model.quality.doctor import examine
from lstm_model.sources.fingerprint import hash_source
from lstm_model.sources.parquet import survey_parquet
from lstm_model.sources.raw_series import read_source
from lstm_model.sources.readers import run_query

HOURS = pd.date_range("2024-01-01", periods=60, freq="h")
GOOD = pd.DataFrame({"unique_id": "a", "ds": HOURS, "y": np.arange(60) + 0.5})
TEXT = GOOD.to_csv(index=False).encode()
COMPRESS = {
    "gz": gzip.compress,
    "bz2": bz2.compress,
    "xz": lzma.compress,
    "zst": lambda text: pa.compress(text, codec="zstd", asbytes=True),
}


def look(path):
    source = Source(kind="files", path=str(path))
    if path.suffix == ".parquet":
        survey_parquet(source, Covariates())
    return examine(read_source(source, covariates=Covariates()), PipelineConfig(source=source, horizon=2)).table


def write(path, content):
    path.write_bytes(content)
    return path


def write_parquet(path, **columns):
    pq.write_table(pa.table(columns), path)
    return path


@pytest.mark.parametrize("kind", COMPRESS)
def test_every_compression_is_read(tmp_path, kind):
    assert len(look(write(tmp_path / f"d.csv.{kind}", COMPRESS[kind](TEXT)))) == 60


@pytest.mark.parametrize("kind", COMPRESS)
@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda content: content[: len(content) // 2], "damaged or cut off"),
        (lambda content: content[:7], "damaged or cut off"),
        (lambda content: TEXT, r"not those of \.\w+, unlike its name"),
    ],
)
def test_a_compressed_file_that_is_cut_or_mislabelled_is_named(tmp_path, kind, damage, message):
    path = write(tmp_path / f"d.csv.{kind}", damage(COMPRESS[kind](TEXT * 500)))
    with pytest.raises(DataError, match=rf"d\.csv\.{kind}.*{message}"):
        look(path)


@pytest.mark.parametrize("content", [gzip.compress(TEXT), b"PK\x03\x04 a workbook", b"PAR1 a table"])
def test_a_csv_that_is_something_else_is_named(tmp_path, content):
    with pytest.raises(DataError, match=r"d\.csv: its first bytes are those of \.(gz|zip or \.xlsx|parquet)"):
        look(write(tmp_path / "d.csv", content))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\xef\xbb\xbf", "is empty"),
        (b"\xef\xbb\xbf\n", "is empty"),
        (b"ds,y," + b"x" * 140_000 + b"\n2024-01-01,1,1\n", "field larger than field limit"),
        (b"ds,y," + b"x," * 600_000 + b"\n2024-01-01,1,1\n", "first line is longer than"),
        (TEXT.replace(b"a,2024-01-01 03", b"a\0b,2024-01-01 03"), "line 5: a NUL byte"),
        (b"ds,y, y\n2024-01-01,1,2\n", "more than one column named 'y'"),
        (b"ds,ds,y\n2024-01-01,2024-01-02,2\n", "more than one column named 'ds'"),
    ],
)
def test_a_csv_that_no_one_can_read_is_named(tmp_path, content, message):
    with pytest.raises(DataError, match=rf"d\.csv.*{message}"):
        look(write(tmp_path / "d.csv", content))


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_utf_16_is_read_with_and_without_its_mark(tmp_path, encoding):
    pd.testing.assert_frame_equal(
        look(write(tmp_path / "d.csv", TEXT.decode().encode(encoding))), look(write(tmp_path / "e.csv", TEXT))
    )


def test_a_header_of_many_names_is_read(tmp_path):
    names = ["ds", *(f"{i} {'x' * 400}" for i in range(400))]
    row = ",1" * 400
    lines = [",".join(names), *(f"2024-01-0{day}{row}" for day in range(1, 6))]
    path = write(tmp_path / "d.csv", "\n".join(lines).encode())
    assert path.stat().st_size > 131_072
    raw = read_source(Source(kind="files", path=str(path)), covariates=Covariates())
    assert raw.table["unique_id"].nunique() == 400


@pytest.mark.parametrize("ids", [[["a"]] * 60, [{"of": 1}] * 60, [b"\xff"] * 60])
def test_names_of_series_that_are_no_texts_are_refused(tmp_path, ids):
    path = write_parquet(tmp_path / "d.parquet", unique_id=pa.array(ids), ds=HOURS, y=np.arange(60.0))
    source = Source(kind="files", path=str(path))
    for read in (lambda: survey_parquet(source, Covariates()), lambda: read_source(source, covariates=Covariates())):
        with pytest.raises(DataError, match=r"unique_id.*lists or structures|utf-8|UTF-8"):
            read()


def test_names_of_series_as_bytes_are_texts_and_other_columns_may_hold_lists(tmp_path):
    lists = pa.array([[1, 2]] * 60)
    path = write_parquet(tmp_path / "d.parquet", unique_id=[b"a"] * 60, ds=HOURS, y=np.arange(60.0), note=lists)
    assert set(look(path)["unique_id"]) == {"a"}


def test_repeated_columns_of_parquet_and_sql_are_refused(tmp_path):
    path = tmp_path / "d.parquet"
    pq.write_table(
        pa.Table.from_arrays([pa.array(HOURS), pa.array([1.0] * 60), pa.array([2.0] * 60)], list("abb")), path
    )
    with pytest.raises(DataError, match=r"d\.parquet has more than one column named 'b'"):
        look(path)
    with pytest.raises(DataError, match=r"source\.query has more than one column named 'y'"):
        run_query(Source(kind="sql", url="sqlite://", query="SELECT 1 AS ds, 2 AS y, 3 AS y"), None)


def make_pipe(path):
    os.mkfifo(path)


def make_socket(path):
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))


def make_device(path):
    path.symlink_to("/dev/zero")


@pytest.mark.parametrize("make", [make_pipe, make_socket, make_device])
@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_what_is_no_file_is_refused_at_once(tmp_path, monkeypatch, make, suffix):
    monkeypatch.chdir(tmp_path)  # the name of a socket must be short
    path = tmp_path / f"d.{suffix}"
    make(path.relative_to(tmp_path))
    for use in (look, lambda path: hash_source(Source(kind="files", path=str(path)))):
        with pytest.raises(DataError, match="is a pipe, socket or device"):
            use(path)


def make_inputs():
    """Return small good files by suffix, with two series, repeated names and texts."""
    other = GOOD.assign(unique_id="b", y=GOOD["y"] * 2)
    frame = pd.concat([GOOD, other], ignore_index=True)
    text = frame.to_csv(index=False).encode()
    parquet, plain = io.BytesIO(), io.BytesIO()
    frame.to_parquet(parquet, index=False)
    pq.write_table(pa.Table.from_pandas(frame), plain, compression="none", row_group_size=50, use_dictionary=False)
    return {
        "csv": text,
        "csv.gz": gzip.compress(text),
        "parquet": parquet.getvalue(),
        "pq": plain.getvalue(),
    }


SPLICES = [
    b"\0",
    b"\n",
    b",",
    b'"',
    b";",
    b"\xff",
    b"1e300",
    b"-",
    b"nan",
    b"inf",
    b"2999-",
    b"\r",
    b"\xe2\x80\xa8",
    b"",
]


def mutate(content, rng):
    """Return the bytes with one or two changes: a flip, a splice, a cut, or a piece doubled or lost."""
    content = bytearray(content)
    for _ in range(rng.randint(1, 2)):
        first = rng.randrange(len(content)) if len(content) > 1 else 0
        last = min(len(content), first + rng.choice([1, 2, 8, 40]))
        match rng.randrange(6):
            case 0:
                content[first : first + 1] = bytes([rng.randrange(256)])
            case 1:
                content[first:last] = rng.choice(SPLICES)
            case 2:
                content[first:first] = rng.choice(SPLICES)
            case 3:
                del content[first:]
            case 4:
                content[first:first] = content[first:last]
            case 5:
                del content[first:last]
    return bytes(content)


@pytest.mark.parametrize("suffix", ["csv", "csv.gz", "parquet", "pq"])
def test_mutated_bytes_give_series_or_a_clear_error(tmp_path, suffix):
    rng, content = random.Random(suffix), make_inputs()[suffix]
    path, stop, read, refused = tmp_path / f"d.{suffix}", time.process_time() + 1.5, 0, 0
    tracemalloc.start()
    for _ in range(400):
        path.write_bytes(mutate(content, rng))
        begin = time.process_time()
        try:
            look(path)
            read += 1
        except DataError as error:
            assert path.name in str(error) or "series" in str(error), error
            refused += 1
        assert time.process_time() - begin < 5
        if time.process_time() > stop:
            break
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert refused
    assert peak < 100e6
