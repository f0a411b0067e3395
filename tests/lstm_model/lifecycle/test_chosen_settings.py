"""What was chosen at the first run is held against the data of every later one."""

import pytest

from lstm_model.contracts.profile import Profile
from lstm_model.contracts.resolved import Resolved
from lstm_model.contracts.stage_meta import SeriesMeta
from lstm_model.lifecycle.chosen_settings import check_transform, choose_settings
from lstm_model.series import infer
from lstm_model.storage.store import Store
from tests.factories import problem


@pytest.fixture
def chosen():
    facts = Profile(
        frequency="D", num_series=1, num_observed=900, length_min=900, length_median=900, length_max=900,
        start="2024-01-01", end="2026-06-18", median_lag=0, lowest=0.5, found_season=None,
    )  # fmt: skip
    config, plan, reasons = infer.infer_plan(problem(), facts)
    assert plan.model.transform == "log"
    return facts, Resolved(config=config, plan=plan, reasons=reasons)


@pytest.mark.parametrize(
    ("lowest", "wanted", "fix"), [(0.0, None, "refresh"), (-3.0, None, "refresh"), (0.0, "log", "set")]
)
def test_logarithms_chosen_before_a_zero_came_are_warned_about(chosen, caplog, lowest, wanted, fix):
    facts, resolved = chosen
    warned = check_transform(resolved, facts.model_copy(update={"lowest": lowest}), wanted)
    assert warned.plan == resolved.plan, "a night does not choose anew by itself"
    assert [row for row in warned.reasons if row[0] == "transform"] == [warned.reasons[-1]]
    assert "0 or less" in warned.reasons[-1][2] and fix in caplog.text


def test_logarithms_that_suit_the_data_are_not_warned_about(chosen, caplog):
    facts, resolved = chosen
    assert check_transform(resolved, facts, None) == resolved and not caplog.text


def test_a_holiday_more_keeps_the_choices_and_another_step_is_refused(chosen, tmp_path):
    facts, _ = chosen
    store = Store(tmp_path)
    first = choose(store, facts.model_copy(update={"frequency": "B"}))
    later = choose(store, facts.model_copy(update={"frequency": "B closed 12-25", "num_observed": 9000}))
    assert later.plan.window.frequency == later.config.frequency == "B closed 12-25"
    assert later.plan.window.model_copy(update={"frequency": "B"}) == first.plan.window
    with pytest.raises(ValueError, match="now look like frequency 'D open mon-sat'"):
        choose(store, facts.model_copy(update={"frequency": "D open mon-sat"}))


def choose(store, facts):
    with store.create("series") as draft:
        meta = SeriesMeta(profile=facts, findings=[], reasons={}, source=problem().source, repaired=0)
        draft.num_rows, draft.meta = 1, meta.to_json()
    return choose_settings(problem(), draft.artifact, store, refresh=False, drifted=False)
