"""A store in a folder where somebody, or a disk that is not mounted, has left other things than files."""

import pytest

from lstm_model.storage.checksums import DamagedFileError
from lstm_model.storage.folder_backend import FolderBackend
from lstm_model.storage.manifest import DamagedArtifactError
from lstm_model.storage.store import Store
from tests.factories import NO_FILES


@pytest.mark.parametrize("kind", NO_FILES)
def test_what_is_no_file_is_listed_and_told_when_it_is_read_or_written(tmp_path, kind):
    backend = FolderBackend(tmp_path)
    backend.write("ledger/1.parquet", b"first")
    NO_FILES[kind](tmp_path / "ledger" / "2.parquet")
    assert [entry.name for entry in backend.entries("ledger")] == ["ledger/1.parquet", "ledger/2.parquet"]
    for read in (backend.read, lambda name: backend.change(name, lambda before: before)):
        with pytest.raises(DamagedFileError, match=r"ledger/2\.parquet is a .*, expected a regular file"):
            read("ledger/2.parquet")
    if kind == "folder":
        with pytest.raises(IsADirectoryError, match=r"2\.parquet is a folder, expected a file; move it away"):
            backend.write("ledger/2.parquet", b"second")
        backend.remove("ledger/2.parquet")
    backend.write("ledger/2.parquet", b"second")
    assert backend.read("ledger/2.parquet") == b"second"


@pytest.mark.parametrize("kind", [kind for kind in NO_FILES if kind != "folder"])
def test_a_folder_that_is_gone_does_not_count_as_empty(tmp_path, kind):
    """Such as a link to a disk that is not mounted."""
    backend = FolderBackend(tmp_path)
    assert backend.entries("ledger") == []
    NO_FILES[kind](tmp_path / "ledger")
    with pytest.raises(OSError, match=r"/ledger, a folder of the store, cannot be listed: .*Restore it"):
        backend.entries("ledger")
    with pytest.raises(NotADirectoryError, match=r"/ledger is no folder"):
        backend.write("ledger/1.parquet", b"first")


def test_hidden_folders_are_left_out_and_links_to_files_are_followed(tmp_path):
    backend = FolderBackend(tmp_path)
    backend.write("elsewhere", b"far")
    backend.write("runs/.ipynb_checkpoints/1.json", b"a copy")
    backend.write("runs/retrain/1.json", b"near")
    (tmp_path / "runs" / "retrain" / "2.json").symlink_to(tmp_path / "elsewhere")
    assert [(entry.name, entry.size) for entry in backend.entries("runs")] == [
        ("runs/retrain/1.json", 4),
        ("runs/retrain/2.json", 3),
    ]


def write(store):
    with store.create("note") as draft:
        (draft.folder / "empty").touch()
    return draft.artifact


@pytest.mark.parametrize("kind", NO_FILES)
def test_what_lies_in_the_place_of_an_artifact_or_its_file_is_damage_and_is_replaced(tmp_path, kind):
    store = Store(tmp_path)
    artifact = write(store)
    for place in (store.path(artifact) / "empty", store.path(artifact) / "manifest.json", store.path(artifact)):
        store.backend.remove(place.relative_to(tmp_path).as_posix())
        NO_FILES[kind](place)
        store.touch(artifact)
        with pytest.raises(DamagedArtifactError, match=rf"{artifact.sha256}/(empty|manifest\.json) (is|cannot)"):
            store.verify(artifact)
        assert write(store) == artifact
        store.verify(artifact)


@pytest.mark.parametrize("kind", NO_FILES)
def test_what_others_put_among_the_artifacts_stops_nothing_and_stays(tmp_path, kind):
    store = Store(tmp_path)
    artifact = write(store)
    (tmp_path / "artifacts" / "note" / "mine").mkdir()
    (tmp_path / "artifacts" / "note" / "mine" / "manifest.json").touch()
    NO_FILES[kind](tmp_path / "artifacts" / "note" / ".DS_Store")
    if kind != "folder":
        NO_FILES[kind](tmp_path / "artifacts" / "note" / ("a" * 64))
    assert [(kept.kind, kept.sha256) for kept in store.backend.artifacts()] == [("note", artifact.sha256)]
