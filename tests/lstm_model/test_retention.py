"""The store forgets what no recent run used, and nothing else."""

import multiprocessing
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
        remember(store, [artifact], flow="retrain")
        forget(store)
    artifacts, records = kept(store)
    assert len(artifacts) == len(records) == KEEP_RUNS
    assert artifact.sha256 in artifacts
    assert len(list((tmp_path / "runs" / "retrain").iterdir())) == KEEP_RUNS


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
        left = len(list((tmp_path / "locks").iterdir()))
        assert left == 2, "what is held, and what forget itself holds"


def test_a_note_that_a_crash_left_empty_stops_nothing(tmp_path):
    store = Store(tmp_path)
    remember(store, [write(store, "a")], flow="retrain")
    (tmp_path / "runs" / "retrain" / "1-1.json").write_text("")
    assert forget(store) == 0


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
