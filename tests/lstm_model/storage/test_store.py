"""Artifacts are whole or not there."""

import multiprocessing
import os
import resource
import signal
import time

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from safetensors.numpy import save_file

from lstm_model.contracts.artifact import Artifact
from lstm_model.storage.drafts import write_atomically
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


def test_a_failure_that_may_pass_is_no_damage(tmp_path):
    store, limits = Store(tmp_path), resource.getrlimit(resource.RLIMIT_NOFILE)
    with store.create("note") as draft:
        (draft.folder / "a.txt").write_text("a")
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, limits[1]))
    try:
        with pytest.raises(OSError, match="Too many open files"):
            store.verify(draft.artifact)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    store.verify(draft.artifact)


def write_parquet(folder):
    pq.write_table(pa.table({"y": np.random.default_rng(0).normal(size=50_000)}), folder / "table.parquet")


def write_weights(folder):
    save_file({"w": np.zeros(50_000)}, folder / "weights.safetensors")


def write_text(folder):
    write_atomically(folder / "text.txt", "x" * 400_000)


@pytest.mark.parametrize("write", [write_parquet, write_weights, write_text])
def test_a_full_disk_is_told_with_the_path_and_leaves_nothing(tmp_path, write):
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))  # a limit that needs no disk of its own
    try:
        full = pytest.raises(OSError, match=rf"cannot write {tmp_path}/tmp/windows.*; make room")
        with full, Store(tmp_path).create("windows") as draft:
            write(draft.folder)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]
