"""A stage's record may come from whoever can write to the store: it names an artifact, or it counts as none."""

import base64
import json
import os
import sys
from importlib import import_module
from pathlib import Path
from pkgutil import walk_packages

import cloudpickle
import pytest
from prefect import Task, flow
from prefect.cache_policies import NO_CACHE
from prefect.settings import PREFECT_API_URL, temporary_settings

import tasks
from lstm_model.contracts.artifact import Artifact
from lstm_model.storage.bucket_backend import BucketBackend
from lstm_model.storage.checksums import BLANK, CHECKSUM, add_checksum
from lstm_model.storage.notes import MOST_BYTES, write_note
from lstm_model.storage.store import Store
from tasks.runtime.runner import StageRunner
from tasks.runtime.stage_call import StageCall
from tasks.stages.generate import generate

INPUTS = {"dataset": "sine", "num_series": 1, "num_steps": 50, "seed": 0}


@pytest.fixture(params=["folder", "bucket"])
def store(request, tmp_path):
    """An empty store of each kind."""
    if request.param == "folder":
        return Store(tmp_path / "store")
    pytest.importorskip("obstore", reason="obstore is not installed: pip install 'evergreen-forecast[s3]'")
    return Store(tmp_path / "copies", BucketBackend(f"{request.getfixturevalue('bucket')}/x", tmp_path / "copies"))


@pytest.fixture
def run_stage(api_url, store):
    """Run the stage as a flow does; return the outcome and the artifact."""

    @flow(name="one stage")
    def one_stage():
        runner = StageRunner(store)
        runner(generate, **INPUTS)
        return runner.records

    def run():
        with temporary_settings({PREFECT_API_URL: api_url}):
            (record,) = one_stage()
        return record.outcome, record.artifact

    return run


class Bomb:
    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return os.mkdir, (str(self.marker),)


def prefect_record(result, serializer):
    metadata = {"serializer": serializer, "storage_key": "x", "prefect_version": "3.8.8"}
    return json.dumps({"metadata": metadata, "result": result}).encode()


def pickled(marker):
    payload = base64.encodebytes(cloudpickle.dumps(Bomb(marker))).decode()
    return prefect_record(payload, {"type": "pickle", "picklelib": "cloudpickle"})


def imported(marker):
    (marker.parent / "evil.py").write_text(f"import os; os.mkdir({str(marker)!r}); Evil = int\n")
    return prefect_record(json.dumps({"__class__": "evil.Evil", "data": 1}), {"type": "json"})


@pytest.mark.parametrize("make", [pickled, imported])
def test_no_record_runs_code(run_stage, store, tmp_path, monkeypatch, make):
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path)])
    monkeypatch.delitem(sys.modules, "evil", raising=False)
    outcome, artifact = run_stage()
    assert outcome == "computed"
    (record,) = store.backend.entries("results")
    store.backend.write(record.name, make(tmp_path / "marker"))
    assert run_stage() == ("computed", artifact)
    assert not (tmp_path / "marker").exists(), "code of a stranger ran"
    assert run_stage() == ("cached", artifact)


def seal(whole, **changes):
    """Change a record and make its checksum fit: who can write to the store can do that too."""
    return add_checksum(json.dumps({**json.loads(whole), **changes, CHECKSUM: BLANK}).encode())


HOSTILE = {
    "truncated": lambda whole: whole[:40],
    "empty": lambda whole: b"",
    "damaged name": lambda whole: prefect_record(
        json.dumps({"__class__": "lstm_model.contracts.artifact.Artifbct", "data": json.loads(whole)}), {"type": "json"}
    ),
    "not UTF-8": lambda whole: whole[:20] + b"\xff" + whole[21:],
    "a flipped bit": lambda whole: whole.replace(b'"num_rows": 9', b'"num_rows": 8'),
    "deep": lambda whole: add_checksum(b"[" * 100_000 + BLANK.encode()),
    "huge": lambda whole: b" " * (MOST_BYTES + 1),
    "a way out of the store": lambda whole: seal(whole, kind="../../other"),
    "no hash": lambda whole: seal(whole, sha256="../" * 21 + "x"),
    "a number": lambda whole: add_checksum(b"1" + BLANK.encode()),
    "another record": lambda whole: add_checksum(b'{"a": 1, "checksum": "%s"}' % BLANK.encode()),
    "no count": lambda whole: seal(whole, num_rows=-1),
    "the record of another stage": lambda whole: seal(whole, file=f"results/ingest-{'0' * 64}"),
}


@pytest.mark.parametrize("hostile", HOSTILE.values(), ids=HOSTILE)
def test_a_record_that_names_no_artifact_counts_as_none_and_goes(store, caplog, hostile):
    call = StageCall(generate, INPUTS, store)
    artifact = Artifact(kind="generated", sha256="0" * 64, num_rows=9)
    name = f"results/{call.key}"
    write_note(store.backend, name, artifact)
    assert call.find_record() == artifact
    store.backend.write(name, hostile(store.backend.read(name)))
    assert call.find_record() is None
    assert store.backend.shown(name) in caplog.text
    assert store.backend.entries("results") == []


def test_the_record_of_another_key_counts_as_none_and_goes(run_stage, store, caplog):
    """It names an artifact that is whole, of another stage or of other inputs."""
    with store.create("generated") as draft:
        draft.num_rows = 1
    write_note(store.backend, "results/ingest-0", draft.artifact)
    name = f"results/{StageCall(generate, INPUTS, store).key}"
    store.backend.write(name, store.backend.read("results/ingest-0"))
    outcome, artifact = run_stage()
    assert outcome == "computed" and artifact != draft.artifact
    assert f"{store.backend.shown(name)} was written as 'results/ingest-0'" in caplog.text
    assert run_stage() == ("cached", artifact)


@pytest.mark.parametrize(
    "make", [Path.mkdir, os.mkfifo, lambda path: path.symlink_to(path)], ids=["folder", "pipe", "loop"]
)
def test_what_is_no_file_counts_as_no_record_and_goes(tmp_path, make):
    call = StageCall(generate, INPUTS, Store(tmp_path))
    path = tmp_path / "results" / call.key
    path.parent.mkdir()
    make(path)
    assert call.find_record() is None
    assert not list(path.parent.iterdir())


def test_prefect_keeps_and_reads_no_result_of_any_task():
    modules = [import_module(module.name) for module in walk_packages(tasks.__path__, "tasks.")]
    found = {one.name: one for module in modules for one in vars(module).values() if isinstance(one, Task)}
    assert len(found) > 20
    for one in found.values():
        assert one.cache_policy == NO_CACHE and not one.persist_result and not one.result_storage_key, one.name
