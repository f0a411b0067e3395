"""A champion whose card another version wrote: a retraining goes on, and says that it cannot compare."""

import pytest

from lstm_model.contracts.artifact import version_of
from lstm_model.contracts.bundle_card import write_record
from lstm_model.contracts.calendar_features import CalendarFeatures, HolidayDates
from lstm_model.contracts.settings import Covariates
from lstm_model.lifecycle.registry import BUNDLE
from lstm_model.lifecycle.rivalry import find_rivalry, find_unchanged
from lstm_model.series.infer import infer_plan
from lstm_model.storage.store import Store
from tests.factories import bundle_card, bundle_record, problem, windows_meta
from tests.lstm_model.series.test_infer import facts


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


def test_a_champion_is_compared_with_the_holidays_that_it_forecasts_with(tmp_path):
    """Its plan names the calendar without dates, which another version of the package may know differently."""
    store = Store(tmp_path)
    calendar = CalendarFeatures(groups=("holiday",), country="DE")
    dates = HolidayDates(first_year=1991, last_year=2049, dates=("2024-12-25",))
    plan = infer_plan(problem(), facts(frequency="D"))[1]
    plan = plan.model_copy(update={"window": plan.window.model_copy(update={"calendar": calendar})})
    known = calendar.model_copy(update={"holidays": {"DE": dates}})
    covariates = windows_meta().covariates.model_copy(update={"calendar": known})
    card = bundle_card(plan=plan.model_dump(mode="json"), frequency="D", covariates=covariates)
    champion = keep_bundle(store, card.model_dump(mode="json"))
    found = find_rivalry(champion, Covariates(), plan, store)
    assert found.champion == champion and found.spec.calendar == known, found.note
    assert found.covariates == Covariates(), "the calendar is no column of a table"
