"""The store forgets what no recent run used, and nothing else."""

import multiprocessing
import os
import shutil

import pandas as pd
import pytest
from pydantic import BaseModel

from lstm_model.contracts.artifact import Artifact, version_of
from lstm_model.lifecycle.ledger import Ledger
from lstm_model.lifecycle.registry import Registry
from lstm_model.lifecycle.retention import KEEP_RUNS, forget, remember
from lstm_model.storage.notes import write_note
from lstm_model.storage.store import Store


class Pin(BaseModel):
    """What a run works on, as `tasks/runtime/resume.py` notes it."""

    series: Artifact
    champion: Artifact | None = None
    damaged: str = ""


def write(store, text):
    with store.create("note") as draft:
        (draft.folder / "a.txt").write_text(text)
    write_note(store.backend, f"results/key-{text}", draft.artifact)
    os.utime(store.path(draft.artifact), (0, 0))
    return draft.artifact


def kept(store):
    return {p.name for p in (store.root / "artifacts" / "note").iterdir()}, {
        p.name for p in (store.root / "results").iterdir()
    }


def test_many_runs_stay_within_bounds(tmp_path):
    store = Store(tmp_path)
    for run in range(3 * KEEP_RUNS):
        artifact = write(store, str(run))
        remember(store, [artifact], flow="retrain")
        forget(store)
    artifacts, records = kept(store)
    assert len(artifacts) == len(records) == KEEP_RUNS
    assert artifact.sha256 in artifacts
    assert len(list((tmp_path / "runs" / "retrain").iterdir())) == KEEP_RUNS


def test_shards_stay_as_long_as_what_was_gathered_from_them(tmp_path):
    store = Store(tmp_path)
    shards = [write(store, text) for text in ("one", "two")]
    for number, by in enumerate(("note", "pin")):
        with store.create("note") as draft:
            draft.meta = {"shards": [shards[number].model_dump()]}
        os.utime(store.path(draft.artifact), (0, 0))
        if by == "note":
            remember(store, [draft.artifact], flow="retrain")
        else:
            write_note(store.backend, "pins/a.json", Pin(series=draft.artifact, damaged="abc"))
    write(store, "unused")
    assert forget(store) == 1
    assert {shard.sha256 for shard in shards} <= kept(store)[0]


def test_what_is_in_use_stays_although_no_finished_run_names_it(tmp_path):
    store = Store(tmp_path)
    in_use, unused = write(store, "in use"), write(store, "unused")
    store.touch(in_use)
    assert forget(store) == 1
    assert kept(store) == ({in_use.sha256}, {"key-in use"})
    assert unused.sha256 not in kept(store)[0]


def test_old_lock_files_go_unless_they_are_held(tmp_path):
    store = Store(tmp_path)
    with store.lock("held"):
        with store.lock("free"):
            pass
        for file in (tmp_path / "locks").iterdir():
            os.utime(file, (0, 0))
        assert len(list((tmp_path / "locks").glob("*.lock"))) == 2
        forget(store)
        left = len(list((tmp_path / "locks").glob("*.lock")))
        assert left == 2, "what is held, and what forget itself takes"


def test_a_note_that_a_crash_left_empty_stops_nothing(tmp_path):
    store = Store(tmp_path)
    remember(store, [write(store, "a")], flow="retrain")
    (tmp_path / "runs" / "retrain" / "1-1.json").write_text("")
    assert forget(store) == 0


MALFORMED = ["", "[", "1", '"a"', "[[1]]", '{"series": 3}', '{"series": {"kind": "../x"}}', "[" * 100_000, "\x00"]


@pytest.mark.parametrize("text", MALFORMED, ids=range(len(MALFORMED)))
def test_malformed_notes_pins_and_records_stop_no_clean_up(tmp_path, text):
    store = Store(tmp_path)
    kept_one, _ = write(store, "a"), write(store, "unused")
    remember(store, [kept_one], flow="retrain")
    for file in ("runs/retrain/1-1.json", "runs/1-1.json", "pins/a.json", "results/malformed"):
        store.backend.write(file, text)
    assert forget(store) == 1
    assert kept(store) == ({kept_one.sha256}, {"key-a"})


def test_a_note_that_was_copied_to_another_name_counts_as_none(tmp_path):
    store = Store(tmp_path)
    kept_one, gone = write(store, "a"), write(store, "gone")
    write_note(store.backend, "pins/b.json", Pin(series=kept_one))
    write_note(store.backend, "elsewhere", Pin(series=gone))
    shutil.copy(tmp_path / "elsewhere", tmp_path / "pins" / "c.json")
    shutil.copy(tmp_path / "results" / "key-a", tmp_path / "results" / "another")
    assert forget(store) == 1
    assert kept(store) == ({kept_one.sha256}, {"key-a"})


def _loop(root, number):
    store = Store(root)
    for i in range(60):
        remember(store, [write(store, f"{number}-{i}")], flow="retrain")
        forget(store)


def test_runs_that_end_together_do_not_disturb_each_other(tmp_path):
    context = multiprocessing.get_context("spawn")
    both = [context.Process(target=_loop, args=(tmp_path, n)) for n in range(2)]
    for process in both:
        process.start()
    for process in both:
        process.join(60)
    assert [process.exitcode for process in both] == [0, 0]


def make(store, kind, text, size=0):
    """An artifact that nobody has touched for long."""
    with store.create(kind) as draft:
        (draft.folder / "data").write_text(text + "x" * size)
    os.utime(store.path(draft.artifact), (0, 0))
    return draft.artifact


def exists(store, artifact):
    return store.path(artifact).exists()


def forecasts(day):
    cutoff = pd.Timestamp("2024-01-01") + pd.Timedelta(days=day)
    return pd.DataFrame(
        {
            "unique_id": ["a"],
            "cutoff": cutoff,
            "ds": cutoff + pd.Timedelta(hours=1),
            "step": 1,
            "mean": 1.0,
            "median": 1.0,
        }
    )


QUOTA_BYTES = 3_200_000
"""Of the store below: three copies of the data, twenty of what is small, and the bundles that ever forecast."""


def test_fifty_retrainings_stay_under_the_quota_and_keep_what_is_reachable(tmp_path):
    store = Store(tmp_path)
    registry, ledger = Registry(store), Ledger(store)
    champions, killed = [], make(store, "series", "what a killed run works on", 100_000)
    pin = tmp_path / "pins" / "run.json"
    write_note(store.backend, "pins/run.json", Pin(series=killed))
    sizes = []
    for day in range(50):
        used = [make(store, kind, f"{kind} {day}", 300_000) for kind in ("series", "windows")]
        used += [make(store, kind, f"{kind} {day}", 10_000) for kind in ("model", "scores", "plots", "report")]
        bundle = make(store, "bundle", f"bundle {day}", 10_000)
        if day % 5 == 0:
            registry.promote(bundle, by="test", why="", instead_of="any")
            champions.append(bundle)
        champion = registry.get("champion")
        ledger.append(forecasts(day), model_version=version_of(champion))
        remember(store, [*used, bundle], flow="retrain")
        remember(store, [used[0]], flow="forecast")
        forget(store)
        sizes.append(sum(file.stat().st_size for file in tmp_path.rglob("*") if file.is_file()))
        assert all(exists(store, bundle) for bundle in champions), "every forecast can be made again"
        assert exists(store, killed) and all(exists(store, artifact) for artifact in used)
    assert max(sizes) < QUOTA_BYTES, sizes
    assert max(sizes[30:]) - max(sizes[:30]) < 100_000, "and grows by the champions alone"
    pin.unlink()
    forget(store)
    assert not exists(store, killed)


def test_a_run_at_work_keeps_what_it_uses(tmp_path):
    """Thirty runs clean up at once with one that has just read an old artifact, and one that is being written."""
    store = Store(tmp_path)
    old = make(store, "windows", "read by a run that is at work")
    store.touch(old)
    with store.create("model") as draft:
        (draft.folder / "weights").write_text("half")
        for day in range(30):
            remember(store, [make(store, "windows", str(day))], flow="retrain")
            forget(store)
        assert draft.folder.exists()
    assert exists(store, old) and exists(store, draft.artifact)


def test_what_comes_into_use_while_cleaning_up_stays(tmp_path, monkeypatch):
    """An old bundle is promoted, and a run makes old windows again, after the clean-up has read what is needed."""
    store = Store(tmp_path)
    old, windows = make(store, "bundle", "old"), make(store, "windows", "made again")
    read = Ledger.model_versions

    def meanwhile(ledger):
        Registry(store).promote(old, by="hand", why="go back", instead_of="any")
        with store.create("windows") as draft:
            (draft.folder / "data").write_text("made again")
        assert draft.artifact == windows
        return read(ledger)

    monkeypatch.setattr(Ledger, "model_versions", meanwhile)
    assert forget(store) == 0
    store.verify(Registry(store).get("champion"))
    assert exists(store, windows)
