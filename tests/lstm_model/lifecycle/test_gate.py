"""The gate reads its forecasts from a store: it promotes, keeps the champion, or leaves the decision to a person."""

import numpy as np
import pandas as pd
import pytest

from lstm_model.contracts.bundle_card import LastTargets, write_record
from lstm_model.contracts.settings import Promotion, WindowSpec
from lstm_model.lifecycle.gate import judge
from lstm_model.lifecycle.rivalry import Comparison, Rivalry
from lstm_model.lifecycle.stage_outputs import write_forecasts
from lstm_model.storage.store import Store
from tests.factories import bundle_record, model_card

HORIZON, CUTOFFS, IDS = 4, 20, [f"s{i}" for i in range(6)]
SPEC = WindowSpec(
    context=8, horizon=HORIZON, season=1, frequency="1", stride=1, evaluation_stride=1, test_steps=24,
    validation_steps=4, align="calendar", pad_short=True,
)  # fmt: skip


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path)


def keep_model(store, *, seen=99, **card):
    """A model whose training went through the step `seen`."""
    with store.create("model") as draft:
        last = LastTargets(train=seen, refit=seen)
        write_record(draft.folder, bundle_record(model_card(seen_through=last, **card).to_json()))
    return draft.artifact


def keep_scores(store, *, error=None):
    """The forecasts of a test whose truth is zero; without `error` there was no test."""
    with store.create("scores") as draft:
        if error is not None:
            draft.num_rows = write_forecasts(draft.folder, tabulate(error), SCALES)
    return draft.artifact


SCALES = pd.DataFrame({"unique_id": IDS, "mase_scale": 1.0})


def tabulate(error):
    keys = pd.MultiIndex.from_product([IDS, range(99, 99 + CUTOFFS), range(1, HORIZON + 1)])
    table = keys.to_frame(index=False, name=["unique_id", "cutoff", "step"])
    lstm = error * np.random.default_rng(0).normal(size=len(table))
    naive = 1.5 * np.random.default_rng(1).normal(size=len(table))
    bounds = {"lo_80": lstm - 1.28 * error, "hi_80": lstm + 1.28 * error}
    return table.assign(ds=table["cutoff"] + table["step"], y=0.0, lstm=lstm, **bounds, seasonal_naive=naive)


def decide(store, scores, *, rivalry=None, champion_scores=None, damaged="", **model):
    match = Comparison(
        model=keep_model(store, **model),
        scores=scores,
        rivalry=rivalry or Rivalry(),
        champion_scores=champion_scores,
        damaged=damaged,
        spec=SPEC,
        rules=Promotion(),
    )
    return judge(match, store)


def test_a_first_model_that_beats_seasonal_naive_is_promoted(store):
    decision = decide(store, keep_scores(store, error=1.0))
    assert (decision.verdict, decision.num_series) == ("promote", len(IDS))
    assert decision.challenger_loss < decision.floor_loss


@pytest.mark.parametrize(("error", "verdict"), [(0.5, "promote"), (2.0, "reject")])
def test_the_better_model_makes_the_forecasts(store, error, verdict):
    champion = keep_model(store, device="cuda")
    scores, theirs = keep_scores(store, error=error), keep_scores(store, error=1.0)
    decision = decide(store, scores, rivalry=Rivalry(champion=champion, spec=SPEC), champion_scores=theirs)
    assert decision.verdict == verdict


def test_a_champion_that_has_seen_the_test_defers_the_decision_with_the_reason(store):
    champion = keep_model(store, seen=99 + CUTOFFS + HORIZON)
    scores, theirs = keep_scores(store, error=0.5), keep_scores(store, error=1.0)
    decision = decide(store, scores, rivalry=Rivalry(champion=champion, spec=SPEC), champion_scores=theirs)
    assert decision.verdict == "defer"
    assert decision.warnings == (f"the champion has seen targets up to {99 + CUTOFFS + HORIZON}",)


def test_a_champion_that_cannot_be_compared_leaves_the_decision_to_a_person(store):
    rivalry = Rivalry(note="champion abc cannot be compared: horizon changed from 2 to 4")
    decision = decide(store, keep_scores(store, error=1.0), rivalry=rivalry)
    assert decision.verdict == "defer"
    assert decision.summary.startswith("Waits for a person, the champion stays: champion abc cannot be compared")


@pytest.mark.parametrize("error", [1.0, None])
def test_a_champion_that_is_damaged_is_the_first_that_the_decision_says(store, error):
    plain, decision = (decide(store, keep_scores(store, error=error), damaged=damaged) for damaged in ("", "abc"))
    assert decision.summary == (
        f"WARNING: the champion abc is damaged; this model is judged as if it were the first. {plain.summary}"
    )
    assert decision.verdict == plain.verdict == "promote" and decision.warnings == (decision.summary,)


def test_a_first_model_without_a_test_is_promoted_with_a_warning(store):
    decision = decide(store, keep_scores(store))
    assert decision.verdict == "promote" and decision.warnings[0].startswith("WARNING: the first model is untested")
