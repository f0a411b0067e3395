"""Text files are opened once, and read no further than they look like a table."""

import gzip
import io
import subprocess
import sys

import pytest
from fsspec.implementations.local import LocalFileSystem

from lstm_model.contracts.findings import DataError
from lstm_model.sources.compression import LONGEST_LINE, open_text

BOMB = """
import resource, sys
from lstm_model.contracts.settings import Covariates, Source
from lstm_model.sources.raw_series import read_source
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    read_source(Source(kind="files", path=sys.argv[1]), covariates=Covariates())
except ValueError as error:
    print(error)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


class Counting(LocalFileSystem):
    """Counts what a remote file system would be asked for; with `streams`, files that cannot go back."""

    streams, opened = False, 0

    def open(self, *args, **kwargs):
        self.opened += 1
        stream = super().open(*args, **kwargs)
        return Stream(stream) if self.streams else stream


class Stream(io.RawIOBase):
    def __init__(self, content):
        self.content = content

    def readable(self):
        return True

    def readinto(self, buffer):
        return self.content.readinto(buffer)

    def seek(self, *_):
        raise ValueError("Cannot seek streaming HTTP file")


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_a_file_is_asked_for_once_and_twice_where_it_cannot_go_back(tmp_path, suffix):
    path = tmp_path / f"a.csv{suffix}"
    path.write_bytes(gzip.compress(b"ds,y\n1,2\n") if suffix else b"ds,y\n1,2\n")
    for streams, expected in ((False, 1), (True, 2)):
        filesystem = Counting(skip_instance_cache=True)
        filesystem.streams = streams
        with open_text(filesystem, str(path), "a.csv") as text:
            assert text.read() == b"ds,y\n1,2\n"
        assert filesystem.opened == expected


def test_lines_within_the_limit_are_read_as_they_are(tmp_path):
    content = b"a\n" + b"x" * (LONGEST_LINE - 1) + b"\n" + b"y" * (LONGEST_LINE - 1)
    (tmp_path / "a.csv").write_bytes(content)
    with open_text(LocalFileSystem(), str(tmp_path / "a.csv"), "a.csv") as text:
        assert text.read() == content
    (tmp_path / "a.csv").write_bytes(content + b"y" * (1 << 19))
    with (
        open_text(LocalFileSystem(), str(tmp_path / "a.csv"), "a.csv") as text,
        pytest.raises(DataError, match=r"a\.csv, line 3: longer than 16,777,216 bytes"),
    ):
        text.read()


def test_a_small_file_that_holds_gigabytes_of_one_line_is_refused_with_little_memory(tmp_path):
    with gzip.open(tmp_path / "a.csv.gz", "wb", compresslevel=1) as file:
        file.write(b"ds,y\n2024-01-01,1\n")
        for _ in range(200):
            file.write(b"a" * 1_000_000)
    command = [sys.executable, "-c", BOMB, str(tmp_path / "a.csv.gz")]
    said, megabytes = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    assert said.startswith("a.csv.gz, line 3: longer than 16,777,216 bytes, which no row of a table is")
    assert int(megabytes) < 150
