"""Scores equal the field's own formulas and protocol, and only real targets count."""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from utilsforecast import losses

from lstm_model.evaluation.baselines import BASELINES, forecast_baselines
from lstm_model.evaluation.error_scales import measure_scales
from lstm_model.evaluation.evaluate import score, tabulate_forecasts
from lstm_model.evaluation.scores import MEAN, MODEL, Scores, write_headline
from lstm_model.windows.in_memory import Windows

LEVELS = (0.8, 0.95)
MODELS = (MODEL, MEAN, *BASELINES)
DATA = Path(os.environ.get("FORECAST_DATA", Path(__file__).parents[3].parent / "shared" / "data"))


class Rule:
    """A forecaster without weights: one of the baselines, shifted, with intervals of a fixed width around it."""

    quantiles: tuple[float, ...] = (0.025, 0.1, 0.5, 0.9, 0.975)

    def __init__(self, name: str, season: int, shift: float = 0.0, spread: float = 1.0) -> None:
        self.name, self.season, self.shift, self.spread = name, season, shift, spread

    def predict(self, windows: Windows) -> np.ndarray:
        context = windows.gather_batch(np_index(windows)).target_BW[:, : windows.context].numpy()
        middle = forecast_baselines(context, horizon=windows.horizon, season=self.season)[self.name] + self.shift
        offsets = self.spread * np.array([-2.0, -1.3, 0.0, 1.3, 2.0])
        return (middle[..., None] + offsets).astype(np.float32)

    def compute_mean(self, values_WHQ: np.ndarray) -> np.ndarray:
        return values_WHQ.mean(axis=-1)


def np_index(windows: Windows) -> torch.Tensor:
    return torch.arange(len(windows))


def panel(num_series: int = 3, steps: int = 120, seed: int = 0) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    t = np.arange(steps)
    return [10 * (k + 1) + 3 * np.sin(2 * np.pi * t / 12) + rng.normal(size=steps) for k in range(num_series)]


def evaluated(series: list[np.ndarray], rule: Rule, season: int = 12, horizon: int = 6) -> tuple[pd.DataFrame, Scores]:
    windows = Windows.from_arrays([y[-(36 + 5 * horizon) :] for y in series], context=36, horizon=horizon, stride=2)
    table = tabulate_forecasts(rule, windows, season=season)
    scale = measure_scales({str(i): y[: -5 * horizon] for i, y in enumerate(series)}, season=season)
    return table, score(table, scale=scale)


def test_the_forecast_table_has_the_contract_columns() -> None:
    table, _ = evaluated(panel(), Rule("naive", 12))
    intervals = ["lo_80", "hi_80", "lo_95", "hi_95"]
    assert list(table) == ["unique_id", "cutoff", "ds", "step", "y", "lstm", *intervals, "lstm_mean", *BASELINES]
    assert isinstance(table["unique_id"].dtype, pd.CategoricalDtype)
    assert set(map(str, table.dtypes[4:])) == {"float32"}
    assert (table["ds"] - table["cutoff"] == table["step"]).all()
    assert (table["lo_95"] < table["lo_80"]).all()
    assert (table["hi_80"] < table["hi_95"]).all()


def test_rows_hold_the_truth_of_their_own_time() -> None:
    series = [1000.0 * k + np.arange(60.0) for k in range(3)]
    windows = Windows.from_arrays(series, context=10, horizon=4, stride=3)
    table = tabulate_forecasts(Rule("naive", 1), windows, season=1)
    expected = 1000 * table["unique_id"].astype(int) + table["ds"]
    np.testing.assert_array_equal(table["y"], expected)
    np.testing.assert_array_equal(table["naive"], expected - table["step"])


def test_scores_equal_utilsforecast_per_series_per_step_and_in_total() -> None:
    table, scores = evaluated(panel(), Rule("window_average", 12, shift=0.4))
    wide = table.drop(columns="cutoff").astype({"unique_id": "str"})
    numbers = wide.columns.drop(["unique_id", "ds", "step"])
    wide[numbers] = wide[numbers].astype(float)
    for key, ours in (("unique_id", scores.per_series), ("step", scores.per_step)):
        for name, times in (("mae", 1), ("rmse", 1), ("smape", 200)):
            if (key, name) == ("step", "smape"):
                continue  # averaged over series, checked below
            theirs = getattr(losses, name)(wide, list(MODELS), id_col=key).set_index(key)
            mine = ours.pivot(index=key, columns="model", values=name)
            np.testing.assert_allclose(mine[list(MODELS)], theirs * times, rtol=1e-6)
        theirs = wide.rename(columns={"lo_80": "lstm-lo-80", "hi_80": "lstm-hi-80"})
        cover = losses.coverage(theirs, ["lstm"], 80, id_col=key)["lstm"]
        np.testing.assert_allclose(ours.loc[ours["model"] == "lstm", "coverage-80"], cover)
    total = scores.total.set_index("model")
    for model in MODELS:
        assert total.loc[model, "rmse"] == pytest.approx(np.sqrt(((wide["y"] - wide[model]) ** 2).mean()))
        by_series = losses.smape(wide, [model])[model].mean() * 200
        assert total.loc[model, "smape"] == pytest.approx(by_series)


def test_mase_and_rmsse_equal_utilsforecast() -> None:
    series = panel()
    table, scores = evaluated(series, Rule("drift", 12))
    train = pd.concat([pd.DataFrame({"unique_id": str(i), "y": y[:-30]}) for i, y in enumerate(series)])
    train["ds"] = np.arange(len(train))
    wide = table.drop(columns="cutoff").astype({"unique_id": "str"})
    for name in ("mase", "rmsse"):
        theirs = getattr(losses, name)(wide, list(MODELS), 12, train).set_index("unique_id")
        mine = scores.per_series.pivot(index="unique_id", columns="model", values=name)
        np.testing.assert_allclose(mine[list(MODELS)], theirs[list(MODELS)], rtol=1e-4)
        np.testing.assert_allclose(
            scores.total.set_index("model")[name][list(MODELS)], theirs[list(MODELS)].mean(), rtol=1e-4
        )


def test_wql_is_twice_the_pinball_sum_over_the_sum_of_sizes() -> None:
    table, scores = evaluated(panel(), Rule("naive", 12))
    y = table["y"].to_numpy(float)
    columns = {
        "lo_95": 0.025,
        "lo_80": 0.1,
        "lstm": 0.5,
        "hi_80": 0.9,
        "hi_95": 0.975,
    }
    pinball = [np.maximum(q * (y - table[c]), (q - 1) * (y - table[c])) for c, q in columns.items()]
    total = scores.total.set_index("model")
    assert total.loc["lstm", "pinball"] == pytest.approx(np.mean(pinball), rel=1e-5)
    assert total.loc["lstm", "wql"] == pytest.approx(2 * np.mean(pinball) * len(y) / np.abs(y).sum(), rel=1e-5)
    expected = np.abs(y - table["drift"]).sum() / np.abs(y).sum()
    assert total.loc["drift", "wql"] == pytest.approx(expected, rel=1e-5)


def test_coverage_and_width_of_known_intervals() -> None:
    table, _ = evaluated(panel(1), Rule("naive", 12))
    table["lo_80"], table["hi_80"] = table["y"] - 1, table["y"] + 2
    table.loc[table["step"] == 3, "lo_80"] = table["y"] + 1  # missed on one step of six
    scores = score(table, scale=pd.DataFrame({"unique_id": ["0"], "mase_scale": 1.0, "rmsse_scale": 1.0}), levels=[0.8])
    total = scores.total.set_index("model")
    assert total.loc["lstm", "coverage-80"] == pytest.approx(5 / 6)
    assert total.loc["lstm", "width-80"] == pytest.approx((5 * 3 + 1) / 6, rel=1e-5)
    assert np.isnan(total.loc["naive", "coverage-80"])
    steps = scores.per_step[scores.per_step["model"] == "lstm"].set_index("step")["coverage-80"]
    assert steps.to_dict() == {1: 1, 2: 1, 3: 0, 4: 1, 5: 1, 6: 1}
    assert "coverage-95" not in total


def test_repaired_values_feed_contexts_but_are_no_truth() -> None:
    windows = Windows.from_arrays([np.arange(30.0)], context=5, horizon=2)
    repaired = windows.observed_N.clone()
    repaired[10] = False  # its value stays: the doctor put one in
    table = tabulate_forecasts(Rule("naive", 1), replace(windows, observed_N=repaired), season=1)
    assert table.loc[table["ds"] == 10, "y"].isna().all()
    assert table["y"].isna().sum() == 2
    assert table.loc[table["cutoff"] == 10, "naive"].tolist() == [10, 10]


def test_targets_that_were_not_observed_are_not_scored() -> None:
    series = panel(2)
    holes = [y.copy() for y in series]
    holes[0][-3:] = np.nan
    table, scores = evaluated(holes, Rule("naive", 12))
    assert table["y"].isna().sum() > 0
    poisoned = table.copy()
    poisoned.loc[poisoned["y"].isna(), list(MODELS)] = 1e6
    again = score(poisoned, scale=measure_scales({str(i): y[:-30] for i, y in enumerate(series)}, season=12))
    pd.testing.assert_frame_equal(again.total, scores.total)
    assert scores.total["count"].tolist() == [int(table["y"].notna().sum())] * len(MODELS)


def test_all_models_are_scored_on_the_same_points() -> None:
    table, _ = evaluated(panel(2), Rule("naive", 12))
    table.loc[:9, "drift"] = np.nan
    scores = score(table, scale=measure_scales({"0": np.arange(40.0), "1": np.arange(40.0)}, season=1))
    assert set(scores.total["count"]) == {len(table) - 10}
    assert any("10 targets" in note for note in scores.notes)


def test_a_series_without_targets_is_named_not_averaged() -> None:
    table, _ = evaluated(panel(3), Rule("naive", 12))
    table.loc[table["unique_id"] == "1", "y"] = np.nan
    scores = score(table, scale=measure_scales({str(i): np.arange(40.0) for i in range(3)}, season=1))
    assert set(scores.per_series["unique_id"]) == {"0", "2"}
    assert scores.headline.num_series == 2
    assert any(
        note.startswith("1 of 3 series have no observed value") and "scored: 1." in note for note in scores.notes
    )


def test_nothing_observed_is_an_error() -> None:
    table, _ = evaluated(panel(1), Rule("naive", 12))
    with pytest.raises(ValueError, match="nothing to score"):
        score(table.assign(y=np.nan), scale=measure_scales({"0": np.arange(9.0)}, season=1))


def test_a_series_without_history_before_the_test_is_named_not_scored() -> None:
    table, _ = evaluated(panel(2), Rule("naive", 12))
    scores = score(table, scale=measure_scales({"0": np.arange(9.0)}, season=1))
    assert set(scores.per_series["unique_id"]) == {"0"}
    assert "1 series begin after the training data, and are not scored: 1." in scores.notes


def test_a_missing_level_is_named() -> None:
    table, _ = evaluated(panel(2), Rule("naive", 12))
    with pytest.raises(ValueError, match="lo_50"):
        score(table, scale=measure_scales({"0": np.arange(9.0), "1": np.arange(9.0)}, season=1), levels=[0.5])
    with pytest.raises(ValueError, match="received 80"):
        score(table, scale=measure_scales({"0": np.arange(9.0), "1": np.arange(9.0)}, season=1), levels=[80])


class Broken(Rule):
    def predict(self, windows: Windows) -> np.ndarray:
        forecast = super().predict(windows)
        forecast[2, 1, :] = np.nan
        return forecast


def test_a_forecast_of_nan_is_an_error_that_names_the_series() -> None:
    with pytest.raises(ValueError, match=r"NaN or infinity in 1 of .* series '0'"):
        evaluated(panel(2), Broken("naive", 12))


def test_the_order_of_series_and_rows_does_not_matter() -> None:
    table, scores = evaluated(panel(3), Rule("naive", 12))
    scale = measure_scales({str(i): y[:-30] for i, y in enumerate(panel(3))}, season=12)
    shuffled = score(table.sample(frac=1, random_state=0), scale=scale.iloc[::-1])
    pd.testing.assert_frame_equal(shuffled.per_series, scores.per_series)
    pd.testing.assert_frame_equal(shuffled.total, scores.total)


def test_a_series_weighs_the_same_whatever_its_number_of_windows() -> None:
    table, _ = evaluated(panel(2), Rule("naive", 12))
    few = table[(table["unique_id"] == "0") | (table["cutoff"] == table["cutoff"].max())]
    scores = score(few, scale=measure_scales({str(i): y[:-30] for i, y in enumerate(panel(2))}, season=12))
    lstm = scores.per_series[scores.per_series["model"] == "lstm"]
    assert lstm["count"].nunique() == 2
    assert scores.total["mase"][0] == pytest.approx(lstm["mase"].mean())


@pytest.mark.parametrize("level", [1e9, 1e-6])
def test_magnitude_changes_no_score_without_units(level: float) -> None:
    _, plain = evaluated(panel(2), Rule("window_average", 12, spread=0))
    _, scaled = evaluated([y * level for y in panel(2)], Rule("window_average", 12, spread=0))
    for name in ("mase", "rmsse", "smape", "wql"):
        np.testing.assert_allclose(scaled.total[name], plain.total[name], rtol=1e-3)


def test_a_point_forecaster_without_intervals() -> None:
    class Point(Rule):
        quantiles = (0.5,)

        def predict(self, windows: Windows) -> np.ndarray:
            return super().predict(windows)[..., 2:3]

    table, scores = evaluated(panel(1), Point("naive", 12), horizon=1)
    assert scores.levels == ()
    assert scores.total.set_index("model").loc["lstm", "wql"] == pytest.approx(
        (table["y"] - table["lstm"]).abs().sum() / table["y"].abs().sum(), rel=1e-5
    )
    assert scores.per_step["step"].unique().tolist() == [1]


class TestScales:
    def test_by_hand(self) -> None:
        scale = measure_scales({"a": np.array([1.0, 2.0, 4.0, 5.0, 9.0])}, season=2)
        errors = np.array([3.0, 3.0, 5.0])
        assert scale["mase_scale"][0] == pytest.approx(errors.mean())
        assert scale["rmsse_scale"][0] == pytest.approx(np.sqrt((errors**2).mean()))
        assert scale["basis"][0] == "seasonal naive"

    def test_differences_never_cross_from_one_series_to_the_next(self) -> None:
        scale = measure_scales({"a": np.array([1.0, 2.0, 3.0]), "b": np.array([100.0, 101.0, 102.0])}, season=1)
        assert scale["mase_scale"].tolist() == [1, 1]

    def test_fallbacks_and_what_they_are_called(self) -> None:
        train = {
            "short": np.array([1.0, 3.0, 5.0]),
            "periodic": np.array([1.0, 4.0] * 8),
            "constant": np.full(16, 7.0) + 1e-12 * np.random.default_rng(0).normal(size=16),
            "zero": np.zeros(16),
            "empty": np.full(3, np.nan),
        }
        scale = measure_scales(train, season=4).set_index("unique_id")
        assert scale["basis"].to_dict() == {
            "short": "naive",
            "periodic": "naive",
            "constant": "mean size",
            "zero": "one",
            "empty": "one",
        }
        assert scale["mase_scale"].to_dict() == pytest.approx(
            {"short": 2, "periodic": 3, "constant": 7, "zero": 1, "empty": 1}
        )

    def test_fallbacks_are_noted_in_the_scores(self) -> None:
        table, _ = evaluated(panel(2), Rule("naive", 12))
        scores = score(table, scale=measure_scales({"0": np.ones(30), "1": np.arange(30.0)}, season=1))
        assert any("1 series are scaled by mean size" in note and note.endswith(": 0.") for note in scores.notes)

    def test_repaired_values_do_not_count(self) -> None:
        frame = pd.DataFrame(
            {"unique_id": "a", "y": [1.0, 2.0, 50.0, 4.0, 5.0], "observed": [True, True, False, True, True]}
        )
        assert measure_scales(frame, season=1)["mase_scale"][0] == 1

    def test_errors(self) -> None:
        with pytest.raises(ValueError, match="sort the table"):
            measure_scales(pd.DataFrame({"unique_id": ["a", "b", "a"], "y": 1.0}), season=1)
        with pytest.raises(ValueError, match="no rows"):
            measure_scales(pd.DataFrame({"unique_id": [], "y": []}), season=1)
        with pytest.raises(ValueError, match="received 0"):
            measure_scales({"a": np.ones(3)}, season=0)


class TestHeadline:
    def test_losing_is_said_first(self) -> None:
        _, scores = evaluated(panel(), Rule("seasonal_naive", 12, shift=5))
        assert not scores.headline.beats_seasonal_naive
        assert not scores.beats_baseline
        assert scores.headline.verdict.startswith("The LSTM loses to seasonal naive: MASE")

    def test_a_tie_is_no_win(self) -> None:
        _, scores = evaluated(panel(), Rule("seasonal_naive", 12))
        assert not scores.headline.beats_seasonal_naive
        assert scores.headline.series_won == 0
        assert scores.headline.verdict.startswith("The LSTM does not beat seasonal naive: both have MASE")

    def test_winning_over_all(self) -> None:
        class Oracle(Rule):
            def predict(self, windows: Windows) -> np.ndarray:
                truth = windows.gather_batch(np_index(windows)).target_BW[:, windows.context :].numpy()
                return truth[..., None] + np.array([-2, -1, 0.01, 1, 2], np.float32)

        _, scores = evaluated(panel(), Oracle("naive", 12))
        assert scores.headline.beats_seasonal_naive and scores.beats_baseline
        assert scores.headline.skill is not None and 0.9 < scores.headline.skill < 1
        assert scores.headline.verdict.startswith("The LSTM beats every baseline")
        assert scores.headline.series_won == scores.headline.num_series == 3

    def test_beating_seasonal_naive_but_not_the_best(self) -> None:
        trend = [np.arange(120.0) + np.random.default_rng(0).normal(size=120)]
        _, scores = evaluated(trend, Rule("naive", 12))
        assert scores.headline.best_baseline == "drift"
        assert scores.headline.beats_seasonal_naive and not scores.beats_baseline
        assert scores.headline.verdict.startswith("The LSTM does not beat drift, the best baseline: MASE")

    def test_the_best_baseline_is_named_where_the_lstm_loses_to_all(self) -> None:
        trend = [np.arange(120.0) + np.random.default_rng(0).normal(size=120)]
        _, scores = evaluated(trend, Rule("naive", 12, shift=99))
        assert "of drift, the best baseline" in scores.headline.verdict

    def test_where_zeros_are_common_the_mean_is_judged_and_the_volume_told(self) -> None:
        """A median of zero has the least absolute error, and leaves all sales out."""
        rng = np.random.default_rng(0)
        sales = [(rng.random(300) < 0.35) * 4.0 for _ in range(4)]

        class Zero(Rule):
            def predict(self, windows: Windows) -> np.ndarray:
                return np.tile(np.array([0, 0, 0, 4, 4], np.float32), (len(windows), windows.horizon, 1))

            def compute_mean(self, values_WHQ: np.ndarray) -> np.ndarray:
                return np.full(values_WHQ.shape[:2], 1.4, np.float32)

        table, scores = evaluated(sales, Zero("naive", 1), season=1)
        headline, total = scores.headline, scores.total.set_index("model")
        assert "tsb" in table and total.loc["lstm", "mase"] < total.loc["tsb", "mase"], "MASE would crown the zeros"
        assert (headline.metric, headline.judged) == ("rmsse", "lstm_mean")
        assert headline.error["lstm_mean"] == pytest.approx(total.loc["lstm_mean", "rmsse"])
        assert total.loc["lstm", "bias"] == pytest.approx(-1) and abs(total.loc["lstm_mean", "bias"]) < 0.5
        assert "of the values are zero" in headline.verdict and "the median 0%" in headline.verdict

    def test_a_verdict_from_few_points_says_so(self) -> None:
        series = panel(1)
        windows = Windows.from_arrays([y[-48:] for y in series], context=36, horizon=12)
        table = tabulate_forecasts(Rule("naive", 12), windows, season=12)
        few = score(table, scale=measure_scales({"0": series[0][:-12]}, season=12))
        assert "rests on 12 points only" in few.headline.verdict
        assert "points only" not in evaluated(panel(), Rule("naive", 12))[1].headline.verdict

    def test_less_than_one_percent_is_hardly_better(self) -> None:
        _, scores = evaluated(panel(), Rule("naive", 12))
        best = scores.headline.error[scores.headline.best_baseline]
        for share, expected in ((0.995, "The LSTM is hardly better than "), (0.98, "The LSTM beats every baseline")):
            total = scores.total.copy()
            total.loc[total["model"] == "lstm", "mase"] = share * best
            headline = write_headline(total, scores.per_series)
            assert headline.verdict.startswith(expected) and "(0% less" not in headline.verdict

    def test_a_baseline_without_error_leaves_skill_open(self) -> None:
        season = [np.tile([1.0, 5.0, 2.0, 7.0], 30)]
        _, scores = evaluated(season, Rule("window_average", 4), season=4)
        assert scores.headline.skill is None
        assert not scores.headline.beats_seasonal_naive


def test_scores_survive_a_folder_with_the_same_bytes(tmp_path: Path) -> None:
    _, scores = evaluated(panel(), Rule("naive", 12))
    scores.to_folder(tmp_path / "a")
    loaded = Scores.from_folder(tmp_path / "a")
    assert loaded.headline == scores.headline
    assert (loaded.levels, loaded.num_windows, loaded.notes) == (scores.levels, scores.num_windows, scores.notes)
    for name in ("total", "per_series", "per_step"):
        pd.testing.assert_frame_equal(getattr(loaded, name), getattr(scores, name), check_dtype=False)
    loaded.to_folder(tmp_path / "b")
    for file in sorted((tmp_path / "a").iterdir()):
        assert file.read_bytes() == (tmp_path / "b" / file.name).read_bytes(), file.name


@pytest.mark.skipif(not (DATA / "M4-Hourly-train.csv").exists(), reason="M4-Hourly is not there; set FORECAST_DATA")
def test_seasonal_naive_on_m4_hourly_gives_the_competition_figures() -> None:
    train = pd.read_csv(DATA / "M4-Hourly-train.csv", index_col=0)
    test = pd.read_csv(DATA / "M4-Hourly-test.csv", index_col=0)
    history = [row[np.isfinite(row)] for row in train.to_numpy(float)]
    last = [np.concatenate([y[-168:], future]) for y, future in zip(history, test.to_numpy(float), strict=True)]
    windows = Windows.from_arrays(last, context=168, horizon=48)
    table = tabulate_forecasts(Rule("seasonal_naive", 24), windows, season=24)
    scores = score(table, scale=measure_scales({str(i): y for i, y in enumerate(history)}, season=24))
    seasonal = scores.total.set_index("model").loc["seasonal_naive"]
    assert len(table) == 414 * 48
    assert round(seasonal["smape"], 3) == 13.912
    assert round(seasonal["mase"], 3) == 1.193
    assert not scores.headline.beats_seasonal_naive


def test_no_forecast_is_below_zero_where_the_history_never_is() -> None:
    series = [np.full(60, 2.0), np.full(60, -2.0)]
    windows = Windows.from_arrays(series, context=10, horizon=4)
    history = pd.DataFrame({"unique_id": np.repeat(["0", "1"], 60), "ds": np.tile(np.arange(60), 2)})
    history = history.assign(y=np.concatenate(series), observed=True)
    table = tabulate_forecasts(Rule("naive", 1, spread=3), windows, season=1, history=history)
    own = table[table["unique_id"] == "0"]
    assert (own["lo_95"] == 0).all() and (own["hi_95"] == 8).all()
    assert (table.loc[table["unique_id"] == "1", "lo_95"] == -8).all()


def test_the_past_of_a_test_ends_at_each_series_first_cutoff() -> None:
    """A backtest hands over later rows too, which the years before must not show."""
    ds = pd.date_range("2020-01-01", periods=1100, unit="us")
    y = 10 + np.sin(np.arange(1100) * 2 * np.pi / 365.25)
    late = np.arange(1100) >= 1000
    history = pd.DataFrame({"unique_id": "0", "ds": ds, "y": np.where(late, 1e6, y), "observed": True})
    windows = replace(
        Windows.from_arrays([y[990 - 20 : 1000]], context=20, horizon=10), frequency="D", cutoff_W=ds[[989]].to_numpy()
    )
    table = tabulate_forecasts(Rule("naive", 7), windows, season=7, history=history)
    assert table["years_before"].max() < 20
