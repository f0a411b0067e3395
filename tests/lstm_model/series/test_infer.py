"""What is left open is chosen from the data, explained, and chosen the same from what is written out."""

import numpy as np
import pandas as pd
import pytest
import yaml

from lstm_model.contracts.profile import Profile
from lstm_model.contracts.settings import PipelineConfig
from lstm_model.contracts.settings_file import dump_config
from lstm_model.series.infer import infer_plan
from lstm_model.series.profiling import measure_profile
from tests.factories import problem


def facts(**changes):
    base = {
        "frequency": "h", "num_series": 10, "num_observed": 20_000, "length_min": 2000, "length_median": 2000,
        "length_max": 2000, "start": "2024-01-01", "end": "2024-03-24", "median_lag": 0, "lowest": 0.5,
        "found_season": None,
    }  # fmt: skip
    return Profile(**{**base, **changes})


def test_every_open_setting_is_chosen_with_a_reason():
    filled, plan, reasons = infer_plan(problem(), facts())
    assert (plan.window.season, plan.window.horizon, plan.window.context) == (24, 24, 336)
    assert (plan.window.test_steps, plan.window.validation_steps) == (192, 192)
    names = {name for name, _, _ in reasons}
    assert {"frequency", "season", "horizon", "context", "hidden_dim", "batch_size"} <= names
    assert all(reason for _, _, reason in reasons)
    for section in (filled, filled.advanced.window, filled.advanced.model, filled.advanced.training):
        left = {n for n in type(section).model_fields if getattr(section, n) is None}
        assert left <= {"schedule", "notify", "aggregate", "threads", "memory_mib"}  # the last two are the machine's


def test_what_is_written_out_resolves_to_the_same_plan():
    filled, plan, _ = infer_plan(problem(name="x", horizon=12), facts())
    again = PipelineConfig.model_validate(yaml.safe_load(dump_config(filled)))
    assert infer_plan(again, facts(num_observed=999_999, length_median=50_000))[1] == plan


@pytest.mark.parametrize(
    ("frequency", "length", "season", "horizon"),
    [("h", 5000, 24, 24), ("D", 900, 7, 14), ("B", 700, 5, 10), ("W-SUN", 260, 52, 8), ("MS", 120, 12, 12),
     ("QS", 40, 4, 4), ("YS", 30, 1, 4), ("15min", 20_000, 96, 96), ("min", 20_000, 1440, 60),
     ("25min", 20_000, 1, 60)],
)  # fmt: skip
def test_each_frequency_gets_a_context_that_its_history_can_fill(frequency, length, season, horizon):
    lengths = {"length_median": length, "length_max": length, "num_observed": 10 * length}
    _, plan, _ = infer_plan(problem(), facts(frequency=frequency, **lengths))
    window = plan.window
    assert (window.season, window.horizon) == (season, horizon)
    train = length - window.test_steps - window.validation_steps
    assert window.context >= 2 and window.context + horizon <= train
    assert window.min_context <= train - horizon
    assert season % plan.model.segment == 0
    assert window.context / plan.model.segment <= max(100, 4 * horizon), "an LSTM is slow over more steps"


def test_a_long_season_is_read_in_parts_and_a_short_context_step_by_step():
    def segment(**changes):
        return infer_plan(problem(), facts(**changes))[1].model.segment

    assert segment() == 24
    assert segment(frequency="15min", length_median=20_000, length_max=20_000) == 48
    assert segment(frequency="QS", length_median=60, length_max=60) == 4
    assert segment(frequency="YS", length_median=60, length_max=60) == 1
    assert segment(frequency="MS", length_median=40, length_max=40) == 1


def test_positive_values_are_modelled_as_logarithms():
    def transform(**changes):
        return infer_plan(problem(**changes.pop("config", {})), facts(**changes))[1].model.transform

    assert transform() == "log"
    assert transform(lowest=0.0) == transform(lowest=-2.0) == transform(lowest=1e-5) == "none"
    assert transform(config={"advanced": {"model": {"kind": "tutorial"}}}) == "none"
    assert transform(lowest=0.0, config={"advanced": {"model": {"transform": "log"}}}) == "log", "the user's own"


def test_cycles_have_a_level_and_slow_series_a_trend():
    hours = infer_plan(problem(), facts(num_observed=5_000_000))[1]
    months = infer_plan(problem(), facts(frequency="MS", num_observed=5_000_000, length_median=120))[1]
    assert (hours.model.normalisation, months.model.normalisation) == ("mean_std", "last")
    assert (hours.model.linear_skip, months.model.linear_skip) == (True, False)
    assert not infer_plan(problem(), facts(num_series=414))[1].model.linear_skip, "many series share no one map"
    weeks = [infer_plan(problem(), facts(frequency="W-MON", length_median=n))[1] for n in (169, 1355)]
    assert [plan.model.linear_skip for plan in weeks] == [False, True], "a long history teaches one"
    assert hours.training.max_steps > months.training.max_steps, "most of a short series is noise"
    few = infer_plan(problem(), facts(frequency="MS", length_median=120))[1]
    assert [plan.training.batch_size for plan in (hours, months, few)] == [64, 256, 64], "many series average it out"


def test_steps_without_a_calendar_are_treated_as_what_their_cycle_says():
    by_hour = infer_plan(problem(horizon=48), facts(length_median=700))[1].window
    by_step = infer_plan(problem(horizon=48), facts(frequency="1", found_season=24, length_median=700))[1].window
    assert (by_step.season, by_step.context) == (by_hour.season, by_hour.context)


def test_weeks_that_begin_on_different_days_are_weeks():
    window = infer_plan(problem(), facts(frequency="7D", length_median=260))[1].window
    assert (window.season, window.horizon, window.context) == (52, 8, 104)


def test_a_season_of_the_users_own_leaves_the_span_a_day():
    window = infer_plan(problem(season=672), facts(frequency="15min", length_median=20_000))[1].window
    assert (window.season, window.horizon) == (672, 96)


def test_an_inferred_horizon_fits_the_history():
    window = infer_plan(problem(), facts(frequency="D", length_median=14))[1].window
    assert window.horizon == 4 and window.test_steps == 4


def test_rows_of_numbered_steps_are_tested_at_their_own_ends():
    config = PipelineConfig.model_validate({"source": {"kind": "files", "path": "a.csv", "layout": "wide_rows"}})
    assert infer_plan(config, facts(frequency="1", length_min=100))[1].window.align == "end"
    assert infer_plan(config, facts(frequency="1"))[1].window.align == "calendar"
    assert infer_plan(config, facts(length_min=100))[1].window.align == "calendar"


def test_series_that_ended_long_ago_are_tested_at_their_own_ends():
    _, plan, reasons = infer_plan(problem(), facts(median_lag=100))
    assert plan.window.align == "end"
    assert ("align", "end", "half of the series end 100 steps or more before the panel does") in reasons


@pytest.mark.parametrize("length", [30, 31, 40, 56, 57, 60, 84, 90])
def test_the_shortest_histories_that_can_be_trained_on_have_windows(length):
    lengths = {"length_median": length, "length_max": length, "length_min": length, "num_series": 1}
    _, plan, _ = infer_plan(problem(horizon=28), facts(frequency="D", num_observed=length, **lengths))
    train = length - plan.window.test_steps - plan.window.validation_steps
    assert plan.window.min_context + plan.window.horizon <= train


def test_short_histories_give_up_validation_first_then_the_test():
    def split(length):
        window = infer_plan(problem(horizon=6), facts(frequency="YS", length_median=length))[1].window
        return window.test_steps, window.validation_steps

    assert split(40) == (6, 6)
    assert split(20) == (6, 0)
    assert split(14) == (6, 0)
    assert split(9) == (0, 0)


def test_what_cannot_fit_is_said_with_the_numbers():
    config = problem(horizon=6, advanced={"window": {"test_steps": 10}})
    with pytest.raises(ValueError, match=r"12 values or fewer.*test of 10.*horizon \+ 2 = 8"):
        infer_plan(config, facts(frequency="YS", length_median=12))


def test_the_users_own_value_wins():
    config = problem(season=168, advanced={"model": {"hidden_dim": 7}})
    _, plan, reasons = infer_plan(config, facts())
    assert (plan.window.season, plan.model.hidden_dim) == (168, 7)
    assert ("hidden_dim", "7", "set in the config") in reasons


def write_panel(path, series):
    frame = pd.concat(
        [
            pd.DataFrame({"unique_id": f"s{i}", "ds": np.arange(len(y)), "y": y, "observed": np.isfinite(y)})
            for i, y in enumerate(series)
        ]
    )
    frame.to_parquet(path, index=False)
    return path


def test_a_season_on_an_integer_axis_is_found_only_where_there_is_one(tmp_path):
    rng = np.random.default_rng(0)
    t = np.arange(300)
    wave = [np.sin(2 * np.pi * t / 24 + i) + 0.3 * rng.normal(size=300) + 0.01 * t for i in range(5)]
    noise = [np.cumsum(rng.normal(size=300)) for _ in range(5)]
    assert measure_profile(write_panel(tmp_path / "a.parquet", wave), "1").found_season == 24
    assert measure_profile(write_panel(tmp_path / "b.parquet", noise), "1").found_season is None


def test_the_profile_counts_real_values_only(tmp_path):
    y = np.arange(50.0)
    y[10:15] = np.nan
    found = measure_profile(write_panel(tmp_path / "a.parquet", [y, np.arange(20.0)]), "1")
    assert (found.num_series, found.num_observed, found.length_min, found.length_max) == (2, 65, 20, 45)
    assert found.median_lag == 15


@pytest.mark.parametrize(
    ("series", "lowest"),
    [
        ([[1.0, 2, 3], [8.0, 4, 40]], 0.5),
        ([[1.0, 2, 3], [0.0, 5, 5]], 0),
        ([[-1.0, 2, 3]], -0.5),
        ([[-3.0, -2, -1]], -3),
        ([[0.0, 0, 9]], 0),
        ([[-1.0, 1e-320, 1e-320]], -1),
    ],
)
def test_the_profile_knows_how_low_values_go(tmp_path, series, lowest):
    assert measure_profile(write_panel(tmp_path / "a.parquet", map(np.array, series)), "1").lowest == lowest
