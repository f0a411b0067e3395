"""A champion whose card another version wrote: a retraining goes on, and says that it cannot compare."""

import pytest

from lstm_model.contracts.artifact import version_of
from lstm_model.contracts.bundle_card import write_record
from lstm_model.contracts.settings import Covariates
from lstm_model.lifecycle.registry import BUNDLE
from lstm_model.lifecycle.rivalry import find_rivalry, find_unchanged
from lstm_model.storage.store import Store
from tests.factories import bundle_card, bundle_record


def keep_bundle(store, card):
    with store.create(BUNDLE) as draft:
        write_record(draft.folder, bundle_record(card))
    return draft.artifact


OLD_PLAN = bundle_card(plan={"model": {"kind": "direct"}}).model_dump(mode="json")
OLD_CARD = {key: value for key, value in OLD_PLAN.items() if key != "decision"}


@pytest.mark.parametrize("card", [OLD_PLAN, OLD_CARD])
def test_a_champion_of_another_version_cannot_be_compared(tmp_path, card):
    store = Store(tmp_path)
    champion = keep_bundle(store, card)
    found = find_rivalry(champion, Covariates(), None, store)
    assert found.champion is None
    assert found.note.startswith(
        f"champion {version_of(champion)} cannot be compared: this version cannot read its card"
    )
    assert find_unchanged(champion, champion, store) is None
