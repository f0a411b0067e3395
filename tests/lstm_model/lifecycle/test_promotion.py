"""Tables are made up here, so that each rule is seen alone; the flow's tests gate real models."""

import numpy as np
import pandas as pd
import pytest

from lstm_model.contracts.settings import Promotion
from lstm_model.lifecycle.promotion import Gate, LeakError, common_targets, decide, diebold_mariano
from lstm_model.training.leakage import Seen

START = np.datetime64("2024-01-01T00", "us")
HOUR = np.timedelta64(1, "h")
SCALE = pd.DataFrame({"unique_id": [f"s{i}" for i in range(6)], "mase_scale": 2.0})
HORIZON = 4


def gate(**settings):
    return Gate(scale=SCALE, horizon=HORIZON, stride=1, own_ends=False, settings=Promotion(**settings))


def forecasts(error, *, num_cutoffs=29, series=6, seed=0):
    """Every hour a forecast of four: the truth is zero, the model errs by normal noise of size `error`."""
    rng = np.random.default_rng(seed)
    rows = series * num_cutoffs * HORIZON
    cutoff = np.tile(np.repeat(START + np.arange(num_cutoffs) * HOUR, HORIZON), series)
    step = np.tile(np.arange(1, HORIZON + 1), series * num_cutoffs)
    lstm = rng.normal(0, 1, rows) * error
    return pd.DataFrame(
        {
            "unique_id": pd.Categorical(np.repeat([f"s{i}" for i in range(series)], num_cutoffs * HORIZON)),
            "cutoff": cutoff,
            "ds": cutoff + step * HOUR,
            "step": step,
            "y": 0.0,
            "lstm": lstm,
            "lo_80": lstm - 1.28 * error,
            "hi_80": lstm + 1.28 * error,
            "seasonal_naive": rng.normal(0, 1, rows) * 1.5,
        }
    )


def seen_through(last):
    """What a model has seen through this moment, or through one for each series."""
    ends = last if isinstance(last, dict) else {None: last}
    return Seen(ends, ends)


BEFORE = seen_through(START)


def judged(challenger, champion=None, *, seen=(BEFORE, BEFORE), **settings):
    rules = gate(**settings)
    table = common_targets(challenger, champion, seen=seen, gate=rules)
    return decide(table, champion=None if champion is None else "abc", gate=rules)


def checks(decision):
    return {check.name: check.passed for check in decision.checks}


def test_a_clearly_better_challenger_is_promoted():
    decision = judged(forecasts(0.5), forecasts(1.0, seed=1))
    assert decision.verdict == "promote" and all(checks(decision).values())
    assert decision.num_cutoffs == 8, "29 hourly cutoffs, horizons of 4: 8 of them do not overlap"
    assert decision.p_value < 0.01 and decision.improvement == pytest.approx(0.5, abs=0.05)
    assert decision.summary.startswith("Better by 47.90%: scaled error 0.1996 against 0.38")


def test_a_tie_is_never_promoted():
    same = forecasts(1.0)
    decision = judged(same, same)
    assert decision.verdict == "reject" and not checks(decision)["margin"] and decision.improvement == 0
    perfect = forecasts(0.0)
    assert judged(perfect, perfect).verdict == "reject"


def test_noise_is_not_an_improvement():
    """Equal models on the same targets: in one case of ten the margin is passed, and seldom the test."""
    promoted = [judged(forecasts(1.0, seed=2 * s), forecasts(1.0, seed=2 * s + 1)).verdict for s in range(60)]
    assert promoted.count("promote") <= 12


def test_with_few_cutoffs_margin_and_majority_decide():
    champion, challenger = forecasts(1.0, num_cutoffs=5, seed=1), forecasts(0.6, num_cutoffs=5)
    decision = judged(challenger, champion)
    assert decision.num_cutoffs == 2 and decision.p_value is None
    assert "majority" in checks(decision) and decision.verdict == "promote"
    worse_on_most = challenger.copy()
    few = worse_on_most["unique_id"].isin(["s0", "s1"])
    worse_on_most["lstm"] = np.where(few, 0.0, champion["lstm"] * 1.05)
    decision = judged(worse_on_most, champion)
    assert checks(decision)["margin"] and not checks(decision)["majority"] and decision.verdict == "reject"


def test_one_series_much_worse_than_champion_and_floor_forbids_it():
    challenger = forecasts(0.3)
    broken = challenger["unique_id"] == "s3"
    challenger.loc[broken, "lstm"] = 2.0
    decision = judged(challenger, forecasts(1.2, seed=1))
    assert decision.verdict == "reject"
    assert [name for name, passed in checks(decision).items() if not passed] == ["no series much worse"]
    assert "worst s3" in decision.summary


def test_intervals_that_do_not_cover_forbid_it_unless_the_champion_covers_worse():
    wide = forecasts(0.5).assign(lo_80=-9.0, hi_80=9.0)
    outside = forecasts(0.5).assign(lo_80=5.0, hi_80=6.0)
    assert not checks(judged(outside, forecasts(1.0, seed=1)))["coverage"]
    nowhere = forecasts(1.0, seed=1).assign(lo_80=5.0, hi_80=6.0)
    assert checks(judged(wide, nowhere))["coverage"]


def test_a_nan_is_never_promoted():
    challenger = forecasts(0.1)
    challenger.loc[17, "lstm"] = np.nan
    for champion in (None, forecasts(1.0, seed=1)):
        decision = judged(challenger, champion)
        assert decision.verdict == "reject" and not checks(decision)["finite"]


def test_a_champion_that_forecasts_nan_does_not_stay_for_ever():
    broken = forecasts(1.0, seed=1)
    broken.loc[17, "lstm"] = np.nan
    assert judged(forecasts(0.5), broken).verdict == "promote"
    assert judged(forecasts(4.0), broken).verdict == "reject"


def test_the_first_model_beats_the_floor_or_warns():
    assert judged(forecasts(0.5)).summary.startswith("The first model, and it beats")
    poor = judged(forecasts(4.0))
    assert poor.verdict == "promote" and poor.warnings[0].startswith("WARNING: the first model fails a check")
    assert judged(forecasts(4.0), first_model="floor").verdict == "reject"
    empty = forecasts(1.0).head(0)
    assert "untested" in judged(empty).summary and judged(empty, first_model="floor").verdict == "defer"


def test_targets_lie_after_what_both_have_seen():
    late = seen_through(START + 20 * HOUR)
    decision = judged(forecasts(0.5), forecasts(1.0, seed=1), seen=(BEFORE, late))
    assert decision.first_target == str(pd.Timestamp(START + 21 * HOUR)) and decision.num_cutoffs == 3
    too_late = seen_through(START + 40 * HOUR)
    deferred = judged(forecasts(0.5), forecasts(1.0, seed=1), seen=(BEFORE, too_late))
    assert deferred.verdict == "defer" and "0 steps to test on" in deferred.summary


def test_own_ends_count_series_by_series():
    seen = seen_through({"s0": START + 27 * HOUR})
    champion, challenger = forecasts(1.0, seed=1), forecasts(0.5)
    table = common_targets(challenger, champion, seen=(BEFORE, seen), gate=gate())
    assert table[table["unique_id"] == "s0"]["cutoff"].nunique() == 2
    assert table[table["unique_id"] == "s1"]["cutoff"].nunique() == 29, "a series that it has not seen"


def test_a_challenger_that_has_seen_its_test_raises():
    seen = seen_through(START + HOUR)
    with pytest.raises(LeakError, match="its windows leak"):
        judged(forecasts(0.1), forecasts(1.0, seed=1), seen=(seen, BEFORE))


def test_series_whose_steps_fall_apart_leak_nothing_as_long_as_their_targets_are_new():
    """Weeks that begin on different days: the cutoff of one series lies before the last target of another."""
    table = forecasts(0.5)
    later = table["unique_id"] == "s1"
    for column in ("cutoff", "ds"):
        table[column] = table[column].where(~later, table[column] + np.timedelta64(30, "m"))
    seen = seen_through(START + np.timedelta64(30, "m"))
    assert not (table["cutoff"] >= seen.of_all).all() and seen.before(table).all()
    assert not seen_through(START + HOUR).before(table).all(), "the first target itself"


def test_integer_time_is_compared_too():
    table = forecasts(0.5)
    for column in ("cutoff", "ds"):
        table[column] = ((table[column] - START) / HOUR).astype("int64")
    decision = judged(table, table.assign(lstm=table["lstm"] * 2), seen=(seen_through(0), seen_through({"s0": 5})))
    assert decision.verdict == "promote" and decision.first_target == "1"


def test_the_statistic_is_harveys():
    """By hand, no overlap: ten differences of variance 8.25 have t = sqrt(9/10) mean / sqrt(8.25/10), 9 d.o.f., whose
    upper 5 % begin at 1.833."""
    d = np.arange(1.0, 11.0) - 5.5 + 1.833 * np.sqrt(0.825 / 0.9)
    assert diebold_mariano(d, np.zeros(10)) == pytest.approx(0.05, rel=1e-3)
    assert diebold_mariano(np.zeros(10), d) == pytest.approx(0.95, rel=1e-3)
    assert diebold_mariano(np.ones(10), np.zeros(10)) == 0.0
    assert diebold_mariano(np.zeros(10), np.zeros(10)) == 1.0


def test_the_test_keeps_its_size():
    rng = np.random.default_rng(0)
    pairs = rng.normal(size=(4000, 2, 8))
    rejected = np.mean([diebold_mariano(a, b) <= 0.1 for a, b in pairs])
    assert 0.07 < rejected < 0.13


def test_the_floor_is_the_best_baseline_on_these_targets():
    last_week = {"last_week": np.random.default_rng(9).normal(size=len(forecasts(1.0))) * 0.2}
    decision = judged(forecasts(0.5).assign(**last_week), first_model="floor")
    assert decision.verdict == "reject" and decision.floor == "last week"
    assert ("last week", f"{decision.floor_loss:.4f}") in decision.losses()
    better = judged(forecasts(0.5).assign(**last_week), forecasts(1.0, seed=1))
    assert better.verdict == "promote" and better.warnings[0].startswith(
        "it does not beat last week, the best baseline"
    )


def test_where_zeros_are_common_the_mean_decides():
    """The challenger's median has the smaller absolute error, and forecasts nothing."""
    sold = (np.random.default_rng(5).random(len(forecasts(1.0))) < 0.3) * 4.0
    champion = forecasts(1.0).assign(y=sold, lstm=0.0, lstm_mean=1.2, seasonal_naive=np.roll(sold, 7))
    challenger = champion.assign(lstm_mean=0.0)
    scale = SCALE.assign(rmsse_scale=2.0)
    for share, verdict in ((0.7, "reject"), (0.0, "promote")):
        rules = Gate(scale.assign(zero_share=share), HORIZON, stride=1, own_ends=False, settings=Promotion())
        other = champion.assign(lstm=1.2)
        table = common_targets(challenger, other, seen=(BEFORE, BEFORE), gate=rules)
        decision = decide(table.assign(lo_80=0.0, hi_80=4.0), champion="abc", gate=rules)
        margin = {check.name: check.passed for check in decision.checks}["margin"]
        assert margin == (verdict == "promote")
    assert decision.floor == "seasonal naive"


def test_intervals_that_pass_and_cover_too_little_are_called_so():
    narrow = forecasts(0.5).assign(y=0.0)
    narrow["lo_80"], narrow["hi_80"] = narrow["lstm"] - 0.54, narrow["lstm"] + 0.54  # 72% of the normal
    decision = judged(narrow, forecasts(1.0, seed=1))
    assert decision.verdict == "promote" and checks(decision)["coverage"]
    assert ("coverage", "TOO NARROW") in [row[:2] for row in decision.rows()]
    assert any(warning.startswith("coverage is TOO NARROW: 7") for warning in decision.warnings)
