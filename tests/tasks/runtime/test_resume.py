"""A run that is executed again goes on with what it began with; the run's id stands in for that run here."""

import logging
from pathlib import Path

import pytest
from prefect.logging import disable_run_logger

from lstm_model.contracts.artifact import Artifact, version_of
from lstm_model.lifecycle.champion import DamagedChampionError
from lstm_model.lifecycle.registry import Registry
from lstm_model.storage.checksums import DamagedFileError
from lstm_model.storage.store import Store
from tasks.runtime import resume
from tasks.runtime.resume import Pin, choose_once, drop, keep, recall
from tasks.runtime.runner import StageRunner


def bundle(store, text):
    with store.create("bundle") as draft:
        (draft.folder / "model.safetensors").write_text(text)
    return draft.artifact


@pytest.fixture
def store(tmp_path, monkeypatch):
    monkeypatch.setenv("PREFECT__RUNTIME__FLOW_RUN__ID", "0c5b2f4e-0000-4000-8000-000000000001")
    return Store(tmp_path)


@pytest.fixture
def rollback(store):
    """What `promote previous` does, up to its end, after a good and then a bad model."""
    registry, good, bad = Registry(store), bundle(store, "good"), bundle(store, "bad")
    for artifact in (good, bad):
        registry.promote(artifact, by="gate", why="", instead_of="any")

    def execute():
        chosen = choose_once(store, lambda: registry.find("previous"))
        registry.promote(chosen, by="hand", why="", instead_of="any")

    return registry, execute, good, bad


def test_a_killed_rollback_that_is_executed_again_does_not_roll_forward(store, rollback):
    registry, execute, good, bad = rollback
    execute()
    assert registry.get("champion") == good
    execute()  # killed before its end, and started again by the watch
    assert registry.get("champion") == good
    drop(store)
    execute()
    assert registry.get("champion") == bad, "another run means what previous means now"


def test_a_rollback_whose_note_is_damaged_does_not_guess(store, rollback):
    registry, execute, good, _ = rollback
    execute()
    (pin,) = store.backend.entries("pins")
    whole = store.backend.read(pin.name)
    for content in (b"{", b"{}", b'{"bundle": 3}', bytes([whole[0] ^ 1]) + whole[1:]):
        store.backend.write(pin.name, content)
        with pytest.raises(DamagedFileError, match=r"see which bundle is the champion now, and promote by its version"):
            execute()
    assert registry.get("champion") == good


def test_a_retraining_goes_on_without_a_damaged_champion_and_a_forecast_says_the_way_out(store):
    run, series = StageRunner(store), Artifact(kind="series", sha256="0" * 64, num_rows=1)
    champion = bundle(store, "the first")
    Registry(store).promote(champion, by="gate", why="", instead_of=None)
    assert keep(run, series, if_damaged="set aside").champion == champion
    flip(store.path(champion) / "model.safetensors")
    with pytest.raises(DamagedChampionError, match=r"model.safetensors is not what was written.*flows\.retrain"):
        keep(run, series)
    with disable_run_logger():
        pin = keep(run, series, if_damaged="set aside")
        assert (pin.champion, pin.damaged) == (None, version_of(champion))
        assert keep(run, series, if_damaged="set aside") == pin, "the next run says it too, until another follows"
    line = Registry(store).history()[-1]
    assert (line.by, line.champion) == ("damage", None) and "model.safetensors is not what was written" in line.why
    [kept] = (store.root / "damaged").iterdir()
    assert kept.name.startswith(f"bundle-{champion.sha256}") and (kept / "model.safetensors").exists()
    another = bundle(store, "another")
    assert Registry(store).promote(another, by="gate", why="", instead_of=None)
    assert keep(run, series, if_damaged="set aside") == Pin(series=series, champion=another)


def test_an_experiment_leaves_a_damaged_champion_as_it_is_and_says_so(store, monkeypatch, caplog):
    run, series = StageRunner(store), Artifact(kind="series", sha256="0" * 64, num_rows=1)
    champion = bundle(store, "the first")
    Registry(store).promote(champion, by="gate", why="", instead_of=None)
    flip(store.path(champion) / "model.safetensors")
    before = list_contents(store)
    monkeypatch.setattr(resume, "get_run_logger", lambda: logging.getLogger("run"))
    pin = keep(run, series, if_damaged="leave")
    assert (pin.champion, pin.damaged) == (None, version_of(champion))
    assert f"the champion {version_of(champion)} is damaged" in caplog.text and "It stays as it is" in caplog.text
    assert list_contents(store) == before, "nothing about it changed"


def test_a_registry_that_is_gone_is_told_before_a_model_takes_over_unseen(store):
    run, series = StageRunner(store), Artifact(kind="series", sha256="0" * 64, num_rows=1)
    Registry(store).promote(bundle(store, "the first"), by="gate", why="", instead_of=None)
    store.backend.write("ledger/00000000-00000000.parquet", b"any")
    assert keep(run, series, if_damaged="set aside").champion is not None
    (store.root / "registry.json").unlink()
    with pytest.raises(ValueError, match=r"registry\.json is gone.* python -m flows\.promote ID --name"):
        keep(run, series, if_damaged="set aside")


def test_a_run_whose_pin_is_damaged_begins_anew(store):
    run = StageRunner(store)
    with store.create("series") as draft:
        draft.num_rows = 12
    keep(run, draft.artifact)
    with disable_run_logger():
        pin = recall(run)
        assert pin is not None and pin.series == draft.artifact
        file = next((store.root / "pins").iterdir())
        file.write_bytes(file.read_bytes().replace(b'"num_rows": 12', b'"num_rows": 13'))
        assert recall(run) is None


def list_contents(store):
    """All that a store holds of its champion."""
    files = [store.root / "registry.json", *(store.root / "artifacts").rglob("*"), *store.root.glob("damaged/*")]
    return {file: file.read_bytes() for file in files if file.is_file()}


def flip(file: Path):
    content = file.read_bytes()
    file.write_bytes(bytes([content[0] ^ 1]) + content[1:])
