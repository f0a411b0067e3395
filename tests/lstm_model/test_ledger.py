"""Every forecast exactly once, whoever is killed: writers here are real processes, and really killed."""

import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from lstm_model import ledger as ledger_module
from lstm_model.ledger import DamagedLedgerError, Ledger
from lstm_model.store import Store

ROOT = Path(__file__).parents[2]
HORIZON = 3


def issue(hour, ids=("a", "b"), *, integer=False, **values):
    """The forecasts that a model makes at one cutoff."""
    cutoff = hour if integer else pd.Timestamp("2024-01-01") + pd.Timedelta(hours=hour)
    step = np.tile(np.arange(1, HORIZON + 1, dtype=np.int32), len(ids))
    ds = cutoff + step if integer else cutoff + pd.to_timedelta(step, unit="h")
    frame = pd.DataFrame({"unique_id": np.repeat(list(ids), HORIZON), "cutoff": cutoff, "ds": ds, "step": step})
    for name in ("mean", "median", "lo_80", "hi_80"):
        frame[name] = np.float32(hour + values.get(name, 0.5))
    if not integer:
        frame = frame.astype({"cutoff": "datetime64[us]", "ds": "datetime64[us]"})
    return frame


@pytest.fixture
def ledger(tmp_path):
    return Ledger(Store(tmp_path))


def assert_once(frame, ids, hours, versions=("m",)):
    """Every forecast of these series, cutoffs and models, whole and once."""
    rows = frame.groupby(["unique_id", "cutoff", "model_version"])["step"].apply(list)
    assert len(rows) == len(ids) * hours * len(versions)
    assert all(steps == [1, 2, 3] for steps in rows)


def test_what_was_appended_is_read_and_a_repetition_adds_nothing(ledger):
    assert ledger.read().empty and ledger.model_versions() == set()
    assert ledger.append(issue(0), model_version="m") == 6
    assert ledger.append(issue(0, mean=9.0), model_version="m") == 0, "what was issued stays as it was issued"
    assert ledger.append(issue(0), model_version="n") == 6
    assert ledger.append(issue(1), model_version="m") == 6
    frame = ledger.read()
    assert list(frame.columns) == [*issue(0).columns, "model_version"]
    assert_once(frame[frame["model_version"] == "m"], "ab", 2)
    first = frame[(frame["model_version"] == "m") & (frame["cutoff"] == "2024-01-01")].drop(columns="model_version")
    pd.testing.assert_frame_equal(first.reset_index(drop=True), issue(0), check_dtype=False)
    assert len(ledger.read(since="2024-01-01 01:00")) == 6 == len(ledger.read(since=pd.Timestamp("2024-01-01 01:00")))
    assert len(ledger.read(model_version="n")) == 6 and ledger.model_versions() == {"m", "n"}


def test_late_series_come_into_a_file_of_their_own(ledger):
    ledger.append(issue(0), model_version="m")
    before = {path: path.read_bytes() for path in ledger.folder.glob("*.parquet")}
    assert ledger.append(issue(0, ids="abc"), model_version="m") == 3
    assert ledger.read()["unique_id"].tolist() == ["a"] * 3 + ["b"] * 3 + ["c"] * 3
    assert all(path.read_bytes() == content for path, content in before.items()), "files never change"
    assert len(list(ledger.folder.glob("*.parquet"))) == 2


def test_integers_as_time_and_models_with_other_intervals(ledger):
    ledger.append(issue(5, integer=True), model_version="m")
    wide = issue(6, integer=True).assign(lo_97_5=np.float32(0), hi_97_5=np.float32(9), lo_50=np.float32(1))
    ledger.append(wide, model_version="n")
    frame = ledger.read(since=5)
    assert list(frame.columns[6:]) == ["lo_50", "lo_80", "hi_80", "lo_97_5", "hi_97_5", "model_version"]
    assert frame["lo_97_5"].isna().sum() == 6 and frame["cutoff"].tolist() == [5] * 6 + [6] * 6
    with pytest.raises(ValueError, match=r"cutoffs of type int64, the new forecasts timestamp\[us\]: these are other"):
        ledger.append(issue(0), model_version="m")
    with pytest.raises(ValueError, match="holds a forecast twice"):
        ledger.append(pd.concat([issue(7, integer=True)] * 2), model_version="m")
    assert len(ledger.read()) == 12


def test_files_are_merged_and_nothing_else_changes(ledger, monkeypatch):
    monkeypatch.setattr(ledger_module, "FANOUT", 3)
    for hour in range(31):
        assert ledger.append(issue(hour), model_version=f"m{hour // 10}") == 6
    names = sorted(path.name for path in ledger.folder.iterdir())
    assert names == ["00000000-00000026.parquet", "00000027-00000029.parquet", "00000030-00000030.parquet"]
    assert_once(ledger.read().assign(model_version="m"), "ab", 31)
    assert ledger.read()["cutoff"].is_monotonic_increasing, "in the order of issue"
    assert ledger.append(issue(4), model_version="m0") == 0, "known, though merged"
    assert len(ledger.read(since="2024-01-02")) == 7 * 6
    monkeypatch.setattr(ledger_module, "MERGED_BYTES", 0)
    for hour in range(31, 40):
        ledger.append(issue(hour), model_version="m3")
    assert len(list(ledger.folder.iterdir())) == 12, "large ones stay apart"


def test_issues_are_handed_on_from_where_one_was(ledger, monkeypatch):
    monkeypatch.setattr(ledger_module, "FANOUT", 3)
    for hour in range(4):
        ledger.append(issue(hour), model_version="m")
    number, frame = ledger.issue_after(-1)
    assert number == 2 and len(frame) == 18
    assert ledger.issue_after(0)[0] == 2, "a merged file comes whole"
    number, frame = ledger.issue_after(2)
    assert number == 3 and set(frame["cutoff"]) == {pd.Timestamp("2024-01-01 03:00")}
    assert ledger.issue_after(3) is None


def test_a_file_that_was_taken_away_or_broken_is_told(ledger):
    for hour in range(4):
        ledger.append(issue(hour), model_version="m")
    (ledger.folder / "00000002-00000002.parquet").rename(ledger.folder.parent / "away")
    with pytest.raises(DamagedLedgerError, match="lacks the issues 2 to 2: a file was removed"):
        ledger.read()
    (ledger.folder.parent / "away").rename(ledger.folder / "00000002-00000002.parquet")
    (ledger.folder / "00000000-00000000.parquet").unlink()
    assert len(ledger.read()) == 18, "the oldest may go"
    (ledger.folder / "00000003-00000003.parquet").write_bytes(b"PAR1")
    with pytest.raises(DamagedLedgerError, match="cannot be read"):
        ledger.read()


WRITERS = f"""
import os, signal, sys, time
sys.path.insert(0, {str(Path(__file__).parent)!r})
from pathlib import Path
from test_ledger import issue
from lstm_model import ledger as module
from lstm_model.ledger import Ledger
from lstm_model.store import Store

module.FANOUT = 3
print("ready", flush=True)
for line in sys.stdin:
    ids, first, last, seconds = line.split()
    child = os.fork()  # spares the seconds that imports take
    if not child:
        ledger = Ledger(Store(Path(sys.argv[1])))
        for hour in range(int(first), int(last)):
            ledger.append(issue(hour, ids=ids), model_version="m")
        os._exit(0)
    if float(seconds):
        time.sleep(float(seconds))
        os.kill(child, signal.SIGKILL)
    print("killed" if os.waitpid(child, 0)[1] else "done", flush=True)
"""


class Writers:
    """A process that forks writers, and kills them after so many seconds."""

    def __init__(self, ledger):
        command = [sys.executable, "-c", WRITERS, str(ledger.folder.parent)]
        self.process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout.readline() == "ready\n"

    def start(self, ids, first, last, seconds=0.0):
        self.process.stdin.write(f"{ids} {first} {last} {seconds}\n")
        self.process.stdin.flush()

    def outcome(self):
        return self.process.stdout.readline().strip()


@pytest.fixture
def writers(ledger):
    started = [Writers(ledger), Writers(ledger)]
    yield started
    for one in started:
        one.process.stdin.close()
        assert one.process.wait(60) == 0


@pytest.mark.slow
def test_killed_at_any_moment_and_run_again_every_forecast_is_there_once(ledger, writers):
    """Every writer begins a little before where the one before was killed, in an append or in a merge."""
    dice, kills, known = random.Random(0), 0, 0
    while kills < 40:
        writers[0].start("ab", max(0, known - 2), known + 5, dice.uniform(0.02, 0.25))
        kills += writers[0].outcome() == "killed"
        frame = ledger.read()
        assert_once(frame, "ab", frame["cutoff"].nunique())
        assert frame["cutoff"].nunique() >= known, "nothing is lost"
        known = frame["cutoff"].nunique()
    assert known > 20
    writers[0].start("ab", 0, known + 1)
    assert writers[0].outcome() == "done"
    assert_once(ledger.read(), "ab", known + 1)
    assert len(ledger.parts()) == len(list(ledger.folder.glob("*.parquet"))), "what was killed in a merge is swept"


@pytest.mark.slow
def test_two_writers_and_a_reader_at_once(ledger, writers):
    """Both issue the same forecasts, one with a series more; what the reader sees is whole and only grows."""
    for one, ids in zip(writers, ("ab", "abc"), strict=True):
        one.start(ids, 0, 20)
    seen = 0
    for _ in range(20):
        frame = ledger.read()
        assert len(frame) >= seen and not frame.duplicated(["unique_id", "cutoff", "step"]).any()
        assert (frame.groupby(["unique_id", "cutoff"]).size() == HORIZON).all()
        seen = len(frame)
    assert [one.outcome() for one in writers] == ["done", "done"]
    assert_once(ledger.read(), "abc", 20)
