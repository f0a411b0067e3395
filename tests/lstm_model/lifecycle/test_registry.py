import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from lstm_model.contracts.artifact import version_of
from lstm_model.lifecycle.registry import ChampionChangedError, Registry, RegistryState
from lstm_model.storage.checksums import BLANK, add_checksum
from lstm_model.storage.manifest import DamagedArtifactError
from lstm_model.storage.store import Store

ROOT = Path(__file__).parents[3]


def bundle(store, text):
    with store.create("bundle") as draft:
        (draft.folder / "model.safetensors").write_text(text)
        draft.num_rows = len(text)
    return draft.artifact


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path)


@pytest.fixture
def registry(store):
    return Registry(store)


def promote(registry, artifact, instead_of="any"):
    return registry.promote(artifact, by="test", why="because", instead_of=instead_of)


def test_a_new_registry_has_no_names(registry):
    assert registry.state() == RegistryState() and registry.find_set_aside() == ""
    with pytest.raises(ValueError, match="no champion yet; no bundle was made yet: run retrain first"):
        registry.find("champion")


def test_promoting_keeps_the_way_back(store, registry):
    first, second = bundle(store, "one"), bundle(store, "second")
    registry.propose(second)
    assert promote(registry, first, instead_of=None)
    assert promote(registry, second, instead_of=first)
    assert (registry.get("champion"), registry.get("previous"), registry.get("challenger")) == (second, first, None)
    assert not promote(registry, second), "already champion: nothing changes, and the way back stays"
    assert registry.get("previous") == first
    assert [(c.champion, c.before) for c in registry.history()] == [
        (version_of(first), None),
        (version_of(second), version_of(first)),
    ]


def test_rolling_back_twice_comes_back(store, registry):
    first, second = bundle(store, "one"), bundle(store, "second")
    promote(registry, first)
    promote(registry, second)
    promote(registry, registry.find("previous"))
    assert (registry.get("champion"), registry.get("previous")) == (first, second)
    promote(registry, registry.find("previous"))
    assert (registry.get("champion"), registry.get("previous")) == (second, first)


def test_a_bundle_that_was_gated_against_another_champion_is_not_promoted(store, registry):
    first, second, third = (bundle(store, text) for text in ("one", "second", "third one"))
    promote(registry, first)
    promote(registry, second)
    with pytest.raises(ChampionChangedError, match="promoted meanwhile"):
        promote(registry, third, instead_of=first)
    assert registry.get("champion") == second


def test_a_bundle_that_a_person_replaced_waits_for_a_person(store, registry):
    first, second = bundle(store, "one"), bundle(store, "second")
    promote(registry, first)
    registry.promote(second, by="gate", why="better", instead_of=first)
    assert not registry.displaced_by_hand(second) and not registry.displaced_by_hand(first)
    registry.promote(registry.find("previous"), by="hand", why="bad", instead_of="any")
    assert registry.displaced_by_hand(second) and not registry.displaced_by_hand(first)
    registry.promote(second, by="hand", why="good after all", instead_of="any")
    assert not registry.displaced_by_hand(second) and registry.displaced_by_hand(first)


def test_a_damaged_bundle_is_not_promoted(store, registry):
    good, bad = bundle(store, "one"), bundle(store, "second")
    promote(registry, good)
    (store.path(bad) / "model.safetensors").write_text("tamper")
    with pytest.raises(DamagedArtifactError, match=r"model\.safetensors is not what was written"):
        promote(registry, bad)
    assert registry.get("champion") == good


def test_bundles_are_found_by_any_unique_beginning(store, registry):
    made = [bundle(store, str(i)) for i in range(40)]
    for artifact in made:
        assert registry.find(version_of(artifact)) == artifact
    with pytest.raises(ValueError, match="bundles begin with"):
        registry.find(next(d for d in "0123456789abcdef" if sum(a.sha256.startswith(d) for a in made) > 1))
    with pytest.raises(ValueError, match="no bundle begins with 'xyz'; the newest bundles are"):
        registry.find("xyz")
    with pytest.raises(ValueError, match="no bundle begins with ''"):
        registry.find("")


def test_a_registry_that_cannot_be_believed_says_what_to_do(store, registry):
    """One that reads as if there were no champion would let the next retraining crown any model."""
    first, second = bundle(store, "one"), bundle(store, "second")
    promote(registry, first)
    file = store.root / "registry.json"
    text = file.read_text()
    for damaged, problem in (
        (text.replace('"champion"', '"chbmpion"', 1), "is not what was written: its checksum does not fit"),
        (text[: len(text) // 2], "has no checksum: it is damaged, or was written by hand or an earlier version"),
        (first.model_dump_json(), "has no checksum"),
        (with_checksum(text.replace('"champion"', '"chbmpion"', 1)), "is of another version: chbmpion: Extra inputs"),
    ):
        file.write_text(damaged)
        for use in (registry.state, lambda: promote(registry, second), lambda: registry.propose(second)):
            with pytest.raises(ValueError, match=f"registry.json {'.*' if 'of' in problem else ''}{problem}") as told:
                use()
            assert "restore it, or move it away and promote the champion that its history names last" in str(told.value)
        assert file.read_text() == damaged, "it stays as it is, with its history"


def with_checksum(text):
    """As another version would write it."""
    found = re.search("sha256:[0-9a-f]{64}", text)[0]
    return add_checksum(text.replace(found, BLANK).encode()).decode()


def test_one_damaged_bundle_is_no_obstacle_for_the_others(store, registry):
    good, bad = bundle(store, "one"), bundle(store, "second")
    (store.path(bad) / "manifest.json").write_text("{}")
    assert registry.find(version_of(good)) == good and registry.bundles() == [good]
    with pytest.raises(DamagedArtifactError, match=r"manifest\.json is not what was written"):
        registry.find(version_of(bad))


def test_a_champion_that_was_set_aside_leaves_the_way_back_and_the_history(store, registry):
    first, second, third = (bundle(store, text) for text in ("one", "second", "third one"))
    promote(registry, first)
    promote(registry, second)
    place = Path(registry.set_champion_aside(second, why="a test"))
    assert (place / "model.safetensors").read_text() == "second" and not store.path(second).exists()
    assert (registry.get("champion"), registry.get("previous")) == (None, first)
    assert registry.find_set_aside() == version_of(second)
    registry.set_champion_aside(second, why="another run found the same")
    assert [(c.champion, c.before, c.by) for c in registry.history()[1:]] == [
        (version_of(second), version_of(first), "test"),
        (None, version_of(second), "damage"),
    ]
    promote(registry, third, instead_of=None)
    assert (registry.get("champion"), registry.get("previous")) == (third, first)
    assert registry.find_set_aside() == ""


def test_the_way_back_from_a_champion_that_was_set_aside_leads_nowhere_twice(store, registry):
    first, second = bundle(store, "one"), bundle(store, "second")
    promote(registry, first)
    promote(registry, second)
    registry.set_champion_aside(second, why="a test")
    promote(registry, registry.find("previous"))
    assert (registry.get("champion"), registry.get("previous")) == (first, None)


KILLED = """
import os, signal, sys
from pathlib import Path
from lstm_model.lifecycle.registry import Registry
from lstm_model.storage.store import Artifact, Store

root, kill_at = Path(sys.argv[1]), 0
registry = Registry(Store(root))
first, second = (Artifact.model_validate_json(a) for a in sys.argv[2:])

def promote_and_die_at(step):
    seen = 0
    def die(event, arguments):
        nonlocal seen
        if event.split(".")[0] in ("open", "os", "fcntl", "shutil"):
            seen += 1
            if seen == step:
                os.kill(os.getpid(), signal.SIGKILL)
    sys.addaudithook(die)
    registry.promote(second, by="test", why="", instead_of=first)
    os._exit(0)

outcomes = []
while True:
    kill_at += 1
    (root / "registry.json").unlink(missing_ok=True)
    registry.promote(first, by="test", why="", instead_of=None)
    child = os.fork()
    if child == 0:
        promote_and_die_at(kill_at)
    _, status = os.waitpid(child, 0)
    state = registry.state()
    registry._store.verify(state.champion)
    assert state.champion in (first, second), state
    assert (state.previous == first) == (state.champion == second), state
    registry.promote(second, by="test", why="", instead_of=first)  # a retry works, the lock is free
    assert registry.state().champion == second and registry.state().previous == first
    outcomes.append(state.champion == second)
    if os.WIFEXITED(status):
        assert os.WEXITSTATUS(status) == 0
        break
print(kill_at, sum(outcomes))
"""


def test_kill_9_at_every_step_of_a_promotion_leaves_a_valid_champion(store):
    made = [bundle(store, "one"), bundle(store, "second")]
    command = [sys.executable, "-c", KILLED, str(store.root), *(a.model_dump_json() for a in made)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    steps, promoted = map(int, done.stdout.split())
    assert steps > 10 and 1 <= promoted < steps, "killed before and after the moment that counts"
    assert list(store.root.glob(".registry.json.*")), "killed writers leave drafts"
    store.sweep()
    assert not list(store.root.glob(".registry.json.*"))
    assert json.loads((store.root / "registry.json").read_text())["champion"]["sha256"] == made[1].sha256
