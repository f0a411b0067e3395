"""The store forgets what no recent run used, and nothing else."""

import os

from lstm_model.retention import KEEP_RUNS, forget, remember, touch
from lstm_model.store import Store


def write(store, text):
    with store.create("note") as draft:
        (draft.folder / "a.txt").write_text(text)
    record = store.root / "results" / f"key-{text}"
    record.parent.mkdir(exist_ok=True)
    record.write_text(draft.artifact.model_dump_json())
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
        remember(store, [artifact])
        forget(store)
    artifacts, records = kept(store)
    assert len(artifacts) == len(records) == KEEP_RUNS
    assert artifact.sha256 in artifacts
    assert len(list((tmp_path / "runs").iterdir())) == KEEP_RUNS


def test_what_is_in_use_stays_although_no_finished_run_names_it(tmp_path):
    store = Store(tmp_path)
    in_use, unused = write(store, "in use"), write(store, "unused")
    touch(store, in_use)
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
        assert len(list((tmp_path / "locks").iterdir())) == 2
        forget(store)
        assert len(list((tmp_path / "locks").iterdir())) == 1
