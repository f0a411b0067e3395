"""Drafts of killed writers go, those of living ones stay, and who waits for a lock is told for whom."""

import multiprocessing
import os
import signal
import time

import pytest

from lstm_model.storage import drafts
from lstm_model.storage.drafts import MACHINE, hold_lock, make_scratch, sweep, write_draft

LONG_AGO = time.time() - 2 * drafts.STALE_SECONDS


def _write_for_ever(root, ready):
    with make_scratch(root, "note") as folder, write_draft(root / "runs" / "retrain" / "1.json") as draft:
        (folder / "half.txt").write_text("ha")
        draft.write_text("ha")
        ready.set()
        time.sleep(600)


def find_files(root):
    return sorted(path.name for path in root.rglob("*") if path.is_file())


def test_drafts_of_a_living_process_stay_whatever_their_names_say_and_go_when_it_is_killed(tmp_path):
    """No process id is asked for: in another container the same one means another process, or none."""
    context = multiprocessing.get_context("spawn")
    ready = context.Event()
    writer = context.Process(target=_write_for_ever, args=(tmp_path, ready))
    writer.start()
    try:
        assert ready.wait(60)
        written = find_files(tmp_path)
        assert len(written) == 2
        for path in tmp_path.rglob("*"):
            os.utime(path, (LONG_AGO, LONG_AGO))
        sweep(tmp_path)
        assert find_files(tmp_path) == written
    finally:
        os.kill(writer.pid, signal.SIGKILL)
        writer.join(30)
    sweep(tmp_path)
    assert find_files(tmp_path) == [] and not list((tmp_path / "tmp").iterdir())


def test_a_draft_that_is_written_by_this_very_process_stays(tmp_path):
    with make_scratch(tmp_path, "note") as folder, write_draft(tmp_path / "pins" / "a.json") as draft:
        draft.write_bytes(b"whole")
        sweep(tmp_path)
        assert folder.is_dir() and draft.exists()
    assert find_files(tmp_path) == ["a.json"] and not folder.exists()


@pytest.mark.parametrize("name", ["pins/.a.json.0123456789ab-0123456789abcdef", "runs/x/.a.json.web_1-17-01234567"])
def test_a_draft_of_another_machine_goes_with_age(tmp_path, name):
    draft, folder = tmp_path / name, tmp_path / "tmp" / "note-web_1-17-0123456789abcdef0123456789abcdef"
    draft.parent.mkdir(parents=True)
    folder.mkdir(parents=True)
    draft.write_text("ha")
    (folder / "half.txt").write_text("ha")
    os.utime(folder, (LONG_AGO, LONG_AGO))
    sweep(tmp_path)
    assert draft.exists() and folder.exists(), "its writer may live, and wrote something lately"
    for path in (draft, folder / "half.txt"):
        os.utime(path, (LONG_AGO, LONG_AGO))
    sweep(tmp_path)
    assert find_files(tmp_path) == [] and not folder.exists()


def test_a_file_that_is_no_draft_and_what_is_in_artifacts_stay(tmp_path):
    artifact = tmp_path / "artifacts" / "note" / f".a.{MACHINE}-0123456789abcdef"
    artifact.parent.mkdir(parents=True)
    for path in (tmp_path / ".DS_Store", tmp_path / "registry.json", artifact):
        path.write_text("x")
        os.utime(path, (LONG_AGO, LONG_AGO))
    sweep(tmp_path)
    assert len(find_files(tmp_path)) == 3


def _hold(root, ready):
    with hold_lock(root, "x"):
        ready.set()
        time.sleep(600)


def test_a_wait_for_a_lock_says_for_whom_and_ends(tmp_path, monkeypatch):
    monkeypatch.setattr(drafts, "TELL_SECONDS", (0.05, 0.1))
    context = multiprocessing.get_context("spawn")
    ready, told = context.Event(), []
    holder = context.Process(target=_hold, args=(tmp_path, ready))
    holder.start()
    try:
        assert ready.wait(60)
        waiting = hold_lock(tmp_path, "x", on_wait=told.append, wait_seconds=3)
        with pytest.raises(TimeoutError, match=f"process {holder.pid} on .* since 20.* UTC; end that process"), waiting:
            pass
        assert len(told) > 1 and f"process {holder.pid} on" in told[0] and told[0].startswith("waited ")
    finally:
        holder.kill()
        holder.join(30)
    with hold_lock(tmp_path, "x", wait_seconds=5):
        pass


def test_links_and_pipes_of_a_stranger_lead_nowhere(tmp_path):
    victim, root = tmp_path / "victim", tmp_path / "store"
    victim.write_text("mine")
    with hold_lock(root, "x"):
        (note,) = (root / "locks").glob("*.txt")
    note.unlink()
    note.symlink_to(victim)
    with hold_lock(root, "x"):
        assert victim.read_text() == "mine"
    note.unlink()
    os.mkfifo(note)
    with hold_lock(root, "x"):
        pass
    (root / "tmp").mkdir()
    (root / "tmp" / "loop").symlink_to("/")
    sweep(root)
