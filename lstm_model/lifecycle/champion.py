"""Tell whether the champion is whole, and what a person can do if it is not."""

from __future__ import annotations

import shlex

from lstm_model.contracts.artifact import Artifact, version_of
from lstm_model.lifecycle.registry import Registry
from lstm_model.storage.manifest import DamagedArtifactError
from lstm_model.storage.store import Store


class DamagedChampionError(ValueError):
    """The champion's files are not what was written; the message says the way out."""


def require_whole(champion: Artifact, store: Store) -> None:
    """Check that the champion's files are what was written, on this machine too, and keep a clean-up from them.

    Raises:
        DamagedChampionError: they are not.
    """
    if damage := find_damage(champion, store):
        raise DamagedChampionError(f"{damage}. Restore it, or {_find_way_out(store)}")


def find_damage(champion: Artifact, store: Store) -> str:
    """Say which file of the champion is not what was written, "" if all are, and keep a clean-up from them."""
    try:
        _check(champion, store)
    except DamagedArtifactError as error:
        return f"the champion {version_of(champion)} is damaged: {error}"
    return ""


def _check(champion: Artifact, store: Store) -> None:
    store.touch(champion)  # first: a clean-up beside this run then leaves it alone
    store.verify(champion)
    store.path(champion)


def _find_way_out(store: Store) -> str:
    """Return what can be done without a backup: going back needs a model before it that is whole and wanted."""
    registry, name, parent = Registry(store), store.backend.name, store.backend.parent
    previous = registry.get("previous")
    if previous is not None and not registry.displaced_by_hand(previous):
        try:
            _check(previous, store)
        except DamagedArtifactError:
            pass
        else:
            words = shlex.join(["previous", "--name", name, "--store", parent])
            return f"go back to the model before it: python -m flows.promote {words}"
    words = shlex.join(["--config", store.backend.shown("pipeline.yaml"), "--store", parent])
    return f"train another, which needs no champion: python -m flows.retrain {words}"
