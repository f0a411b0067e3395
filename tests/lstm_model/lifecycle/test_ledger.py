"""Every forecast exactly once, whoever is killed: writers here are real processes, and really killed."""

import random
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from lstm_model.lifecycle import ledger as ledger_module
from lstm_model.lifecycle.ledger import DamagedLedgerError, Ledger, select_latest
from lstm_model.storage.checked_parquet import CheckedParquet, dump_table
from lstm_model.storage.store import Store

ROOT = Path(__file__).parents[3]
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
    assert list(frame.columns) == [*issue(0).columns, "data", "revision", "model_version"]
    assert_once(frame[frame["model_version"] == "m"], "ab", 2)
    first = frame[(frame["model_version"] == "m") & (frame["cutoff"] == "2024-01-01")]
    first = first[issue(0).columns].reset_index(drop=True)
    pd.testing.assert_frame_equal(first, issue(0), check_dtype=False)
    assert len(ledger.read(since="2024-01-01 01:00")) == 6 == len(ledger.read(since=pd.Timestamp("2024-01-01 01:00")))
    assert len(ledger.read(model_version="n")) == 6 and ledger.model_versions() == {"m", "n"}


def test_shards_are_one_issue_oldest_first(ledger):
    ledger.append(issue(1, ids="c"), model_version="m")
    shards = [pd.concat([issue(1, ids="a"), issue(0, ids="b")]), issue(1, ids="cd"), issue(0, ids="e")]
    assert ledger.append(iter(shards), model_version="m") == 12, "c was there"
    assert len(list(ledger.folder.glob("*.parquet"))) == 2
    assert "".join(ledger.read()["unique_id"][::HORIZON]) == "cbead"
    assert set(ledger.read(ids=("b", "d"))["unique_id"]) == set("bcd")
    with pytest.raises(ValueError, match="two tables hold forecasts of the same series, such as 'a'"):
        ledger.append([issue(2, ids="ba"), issue(2, ids="ca")], model_version="m")


def test_cutoffs_are_counted_over_all_files(ledger):
    assert ledger.cutoffs().empty
    for hour, ids, version in ((1, "ab", "m"), (1, "bc", "m"), (0, "a", "n")):
        ledger.append(issue(hour, ids=tuple(ids)), model_version=version)
    found = ledger.cutoffs()
    assert found[["model_version", "num_series"]].to_numpy().tolist() == [["n", 1], ["m", 3]]
    assert found["cutoff"].tolist() == [pd.Timestamp("2024-01-01 00:00"), pd.Timestamp("2024-01-01 01:00")]


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
    assert list(frame.columns[6:]) == [
        "lo_50",
        "lo_80",
        "hi_80",
        "lo_97_5",
        "hi_97_5",
        "data",
        "revision",
        "model_version",
    ]
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


def test_a_series_that_ended_long_ago_does_not_bring_the_whole_ledger(ledger, monkeypatch):
    """Its cutoff stays, so that those of a new issue span all that was ever issued."""
    for hour in range(12):
        ledger.append(issue(hour), model_version="m")
    known, read = [], Ledger.read_parts
    monkeypatch.setattr(
        Ledger, "read_parts", lambda *args, **columns: known.append(read(*args, **columns)) or known[-1]
    )
    both = pd.concat([issue(11), issue(0, ids="z")])
    assert ledger.append(both, model_version="m") == 3
    assert known[0].num_rows == 2 * 6, "of the two cutoffs alone"
    found = ledger.read(cutoffs=both["cutoff"], model_version="m")
    assert len(found) == 2 * 6 + 3 and set(found["cutoff"]) == set(both["cutoff"])


def test_revised_data_at_the_same_cutoff_give_a_new_revision(ledger, monkeypatch):
    """Those of the series that was revised alone; and once more where the data become what they were."""
    monkeypatch.setattr(ledger_module, "FANOUT", 2)
    mixed = pd.concat([issue(0, "a", mean=7.0).assign(data="e"), issue(0, "b").assign(data="d")])
    for table, new in ((issue(0).assign(data="d"), 6), (mixed, 3), (mixed, 0), (issue(0).assign(data="d"), 3)):
        assert ledger.append(table, model_version="m") == new
    rows = ledger.read()
    assert rows.groupby("unique_id")["revision"].unique().map(list).to_dict() == {"a": [0, 1, 2], "b": [0]}
    latest = select_latest(rows)
    assert_once(latest, "ab", 1)
    assert set(latest["mean"]) == {np.float32(0.5)} and rows["mean"].max() == 7
    assert ledger.cutoffs()["num_series"].tolist() == [2], "a revision is no other series"
    _, keys = ledger.issue_before(None)
    assert keys["revision"].max() == 2


def test_a_ledger_of_a_version_that_noted_no_data_is_continued(ledger):
    ledger.append(issue(0), model_version="m")
    [file] = ledger.folder.glob("*.parquet")
    older = CheckedParquet(file, "", name=f"ledger/{file.name}").read().drop_columns(["data", "revision"])
    file.write_bytes(dump_table(older, name=f"ledger/{file.name}"))
    assert ledger.append(issue(0).assign(data="d"), model_version="m") == 0, "what it was made of is not known"
    assert ledger.issue_before(None)[1]["revision"].tolist() == [0, 0] and ledger.cutoffs()["num_series"].tolist() == [
        2
    ]
    assert ledger.append(issue(1).assign(data="d"), model_version="m") == 6
    assert ledger.read()["revision"].tolist() == [0] * 12


def test_integer_cutoffs_are_picked(ledger):
    for hour in range(4):
        ledger.append(issue(hour, integer=True), model_version="m")
    assert ledger.read(cutoffs=pd.Series([1, 3, 3, 9]))["cutoff"].tolist() == [1] * 6 + [3] * 6


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


def test_files_are_looked_at_from_the_newest_back(ledger, monkeypatch):
    monkeypatch.setattr(ledger_module, "FANOUT", 3)
    assert ledger.issue_before(None) is None
    for hour in range(4):
        ledger.append(issue(hour, ids="ab" if hour % 2 else "ac"), model_version="m")
    part, keys = ledger.issue_before(None)
    assert (part.first, part.last) == (3, 3) and keys["unique_id"].tolist() == ["a", "b"]
    part, keys = ledger.issue_before(part.first)
    assert (part.first, part.last) == (0, 2) and keys["unique_id"].tolist() == ["a", "c"], "the last issue of the file"
    assert set(keys["cutoff"]) == {pd.Timestamp("2024-01-01 02:00")} and set(keys["model_version"]) == {"m"}
    assert ledger.issue_before(part.first) is None


def test_a_file_that_was_taken_away_or_broken_is_told(ledger):
    for hour in range(4):
        ledger.append(issue(hour), model_version="m")
    (ledger.folder / "00000002-00000002.parquet").rename(ledger.folder.parent / "away")
    with pytest.raises(DamagedLedgerError, match="lacks the issues 2 to 2: a file was removed"):
        ledger.read()
    (ledger.folder.parent / "away").rename(ledger.folder / "00000002-00000002.parquet")
    (ledger.folder / "00000000-00000000.parquet").unlink()
    assert len(ledger.read()) == 18, "the oldest may go"


@pytest.mark.parametrize("kept", [0, 4, 100, 0.9])
def test_whoever_meets_a_broken_file_names_it_and_the_remedy(ledger, monkeypatch, kept):
    for hour in range(2):
        ledger.append(issue(hour), model_version="m")
    broken = ledger.folder / "00000001-00000001.parquet"
    whole = broken.read_bytes()
    broken.write_bytes(whole[: kept if kept >= 1 else int(len(whole) * kept)])
    monkeypatch.setattr(ledger_module, "FANOUT", 2)
    used = [ledger.read, ledger.model_versions, lambda: ledger.issue_after(0), lambda: ledger.issue_before(None)]
    for use in (*used, ledger._merge, lambda: ledger.append(issue(2), model_version="m")):
        with pytest.raises(
            DamagedLedgerError, match=r"00000001-00000001.parquet, a file .* cannot be read.*Restore it"
        ):
            use()
    broken.unlink()
    assert ledger.append(issue(1), model_version="m") == 6, "the newest may go too"


@pytest.mark.parametrize("copy", [shutil.copy, shutil.move])
@pytest.mark.parametrize("to", ["00000001-00000003", "00000005-00000005"])
def test_a_file_that_was_renamed_or_copied_is_told_and_nothing_is_removed(ledger, copy, to):
    for hour in range(5):
        ledger.append(issue(hour), model_version="m")
    copy(ledger.folder / "00000001-00000001.parquet", ledger.folder / f"{to}.parquet")
    files = sorted(ledger.folder.iterdir())
    for use in (ledger.read, lambda: ledger.append(issue(5), model_version="m")):
        with pytest.raises(DamagedLedgerError, match=r"it was renamed or copied|lacks the issues 1 to 1"):
            use()
    assert sorted(ledger.folder.iterdir()) == files


def test_a_hidden_folder_of_a_notebook_stops_nothing(ledger):
    (ledger.folder / ".ipynb_checkpoints").mkdir(parents=True)
    assert ledger.append(issue(0), model_version="m") == 6


def test_damage_in_the_middle_of_a_file_is_told(ledger):
    """Its end, by which a file is known as Parquet, is whole."""
    ledger.append(issue(0), model_version="m")
    [broken] = ledger.folder.glob("*.parquet")
    content = bytearray(broken.read_bytes())
    content[4:200] = bytes(196)
    broken.write_bytes(content)
    for use in (ledger.read, lambda: ledger.issue_before(None), lambda: ledger.append(issue(0), model_version="m")):
        with pytest.raises(DamagedLedgerError, match=r"00000000-00000000.parquet, a file .* cannot be read"):
            use()


WRITERS = f"""
import os, signal, sys, time
sys.path.insert(0, {str(Path(__file__).parent)!r})
from pathlib import Path
from test_ledger import issue
from lstm_model.lifecycle import ledger as module
from lstm_model.lifecycle.ledger import Ledger
from lstm_model.storage.store import Store

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
    while kills < 40 or known <= 20:
        seconds = dice.uniform(0.02, 0.25) * max(1, kills / 40)  # a busy machine gets on in longer ones
        writers[0].start("ab", max(0, known - 2), known + 5, seconds)
        kills += writers[0].outcome() == "killed"
        frame = ledger.read()
        assert_once(frame, "ab", frame["cutoff"].nunique())
        assert frame["cutoff"].nunique() >= known, "nothing is lost"
        known = frame["cutoff"].nunique()
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
