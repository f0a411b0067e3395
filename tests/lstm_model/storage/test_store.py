"""Artifacts are whole or not there."""

import multiprocessing
import os
import signal
import time

import pytest

from lstm_model.contracts.artifact import Artifact
from lstm_model.storage.manifest import DamagedArtifactError
from lstm_model.storage.store import Store


def write(store, text="hello", *, num_rows=1):
    with store.create("note") as draft:
        (draft.folder / "sub").mkdir()
        (draft.folder / "sub" / "a.txt").write_text(text)
        draft.num_rows = num_rows
        draft.meta = {"words": len(text.split())}
    return draft.artifact


def test_equal_content_has_one_name_and_survives_a_move(tmp_path):
    store = Store(tmp_path / "a")
    artifact = write(store)
    assert write(store) == artifact
    assert write(store, "other") != artifact
    (tmp_path / "a").rename(tmp_path / "b")
    moved = Store(tmp_path / "b")
    moved.verify(artifact)
    assert (moved.path(artifact) / "sub" / "a.txt").read_text() == "hello"
    assert moved.meta(artifact) == {"words": 1}
    assert Artifact.model_validate_json(artifact.model_dump_json()) == artifact


def test_an_error_while_writing_leaves_nothing(tmp_path):
    store = Store(tmp_path)
    with pytest.raises(RuntimeError), store.create("note") as draft:
        (draft.folder / "half.txt").write_text("ha")
        raise RuntimeError
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


@pytest.mark.parametrize("damage", ["delete", "truncate", "change", "manifest"])
def test_damage_is_found_and_mended_by_writing_again(tmp_path, damage):
    store = Store(tmp_path)
    artifact = write(store)
    file = store.path(artifact) / "sub" / "a.txt"
    if damage == "delete":
        file.unlink()
    elif damage == "truncate":
        file.write_text("hel")
    elif damage == "change":
        file.write_text("hallo")
    else:
        (store.path(artifact) / "manifest.json").write_text("{}")
    with pytest.raises(DamagedArtifactError):
        store.verify(artifact)
    assert write(store) == artifact
    store.verify(artifact)


def _hold(root, ready):
    with Store(root).lock("x"):
        ready.set()
        time.sleep(60)


def test_a_lock_is_free_once_its_holder_is_killed(tmp_path):
    context = multiprocessing.get_context("spawn")
    ready = context.Event()
    holder = context.Process(target=_hold, args=(tmp_path, ready))
    holder.start()
    assert ready.wait(30)
    os.kill(holder.pid, signal.SIGKILL)
    with Store(tmp_path).lock("x"):
        pass
    holder.join(10)
