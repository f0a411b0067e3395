"""A run that is executed again goes on with what it began with; the run's id stands in for that run here."""

import pytest

from lstm_model.lifecycle.registry import Registry
from lstm_model.storage.store import Store
from tasks.runtime.resume import choose_once, drop


def bundle(store, text):
    with store.create("bundle") as draft:
        (draft.folder / "model.safetensors").write_text(text)
    return draft.artifact


@pytest.fixture
def rollback(tmp_path, monkeypatch):
    """What `promote previous` does, up to its end."""
    monkeypatch.setenv("PREFECT__RUNTIME__FLOW_RUN__ID", "0c5b2f4e-0000-4000-8000-000000000001")
    store = Store(tmp_path)
    registry = Registry(store)

    def execute():
        chosen = choose_once(store, lambda: registry.find("previous"))
        registry.promote(chosen, by="hand", why="", instead_of="any")

    return store, registry, execute


def test_a_killed_rollback_that_is_executed_again_does_not_roll_forward(rollback):
    store, registry, execute = rollback
    good, bad = bundle(store, "good"), bundle(store, "bad")
    for artifact in (good, bad):
        registry.promote(artifact, by="gate", why="", instead_of="any")
    execute()
    assert registry.get("champion") == good
    execute()  # killed before its end, and started again by the watch
    assert registry.get("champion") == good
    drop(store)
    execute()
    assert registry.get("champion") == bad, "another run means what previous means now"


def test_a_damaged_note_of_the_choice_is_told_and_nothing_is_chosen_again(rollback):
    store, registry, execute = rollback
    good, bad = bundle(store, "good"), bundle(store, "bad")
    for artifact in (good, bad):
        registry.promote(artifact, by="gate", why="", instead_of="any")
    execute()
    (pin,) = store.backend.entries("pins")
    for content in (b"{", b"{}", b'{"bundle": 3}'):
        store.backend.write(pin.name, content)
        with pytest.raises(ValueError, match=r"cannot be read: .* Start a new run"):
            execute()
    assert registry.get("champion") == good
