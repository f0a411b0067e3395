"""Folds of a backtest: which fit, what they train on, and what is said about them."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from lstm_model.contracts.settings import Covariates, ModelSpec, Plan, TrainingSpec, WindowSpec
from lstm_model.evaluation.backtest import (
    count_fitting_folds,
    is_same_problem,
    make_fold_spec,
    pool_folds,
    tabulate_folds,
)
from lstm_model.evaluation.baselines import find_baselines, forecast_seasonal_naive
from lstm_model.evaluation.error_scales import measure_scales
from lstm_model.evaluation.evaluate import tabulate_forecasts
from lstm_model.evaluation.scores import name_model
from lstm_model.lifecycle.envelope import envelope
from lstm_model.reporting.fold_table import make_fold_table
from lstm_model.reporting.monitor_plots import plot_folds
from lstm_model.reporting.report import Report, render_html, render_markdown
from lstm_model.windows.in_memory import load_windows
from lstm_model.windows.layout import read_segments
from lstm_model.windows.segments import select_before_test, write_windows

SPEC = WindowSpec(
    context=24, horizon=6, season=24, frequency="h", stride=1, evaluation_stride=1, test_steps=48, validation_steps=48,
    align="calendar", pad_short=True,
)  # fmt: skip
LENGTH = 480


class Naive:
    """Seasonal naive with intervals, in the place of a trained model."""

    quantiles = (0.1, 0.5, 0.9)

    def predict(self, windows):
        before = windows.gather_past(torch.arange(len(windows))).numpy()
        middle = forecast_seasonal_naive(before, horizon=windows.horizon, season=24)
        return np.stack([middle - 0.5, middle, middle + 0.5], axis=-1).astype(np.float32)

    def compute_mean(self, values_WHQ):
        return values_WHQ[..., values_WHQ.shape[-1] // 2]


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """Two series of noise around a daily shape."""
    rng, steps = np.random.default_rng(0), np.arange(LENGTH)
    ds = np.datetime64("2024-01-01", "us") + steps * np.timedelta64(1, "h")
    parts = [
        pd.DataFrame({"unique_id": name, "ds": ds, "y": np.sin(steps / 24 * 2 * np.pi) + rng.normal(0, 0.2, LENGTH)})
        for name in ("a", "b")
    ]
    frame = pd.concat(parts, ignore_index=True).assign(observed=True)
    path = tmp_path_factory.mktemp("backtest") / "series.parquet"
    pq.write_table(pa.Table.from_pandas(frame.astype({"y": np.float32}), preserve_index=False), path)
    return path


def cut(table, folder, spec, fold):
    write_windows(table, folder, spec=spec, covariates=Covariates(), fold=fold)
    return folder


def test_an_expanding_fold_trains_on_all_before_it_and_a_rolling_one_on_a_fixed_span(table, tmp_path):
    for training, lengths in (("expanding", [384, 336, 288]), ("rolling", [288, 288, 288])):
        spec = make_fold_spec(SPEC, length=LENGTH, folds=3, training=training)
        for fold, length in enumerate(lengths):
            folder = cut(table, tmp_path / f"{training}-{fold}", spec, fold)
            trained = list(read_segments(folder, "train"))
            assert [len(s.values) - s.padding for s in trained] == [length, length]
            ends = [s.start + np.timedelta64(len(s.values) - s.padding - 1, "h") for s in trained]
            assert len(set(ends)) == 1 and ends[0] == np.datetime64("2024-01-01") + np.timedelta64(383 - 48 * fold, "h")
            assert len(load_windows(folder, "test")) == 2 * (48 - 6 + 1)
    assert make_fold_spec(SPEC, length=LENGTH, folds=3, training="expanding") == SPEC, (
        "the same key as a retraining has"
    )


def test_too_many_folds_are_refused_with_the_number_that_fits():
    assert count_fitting_folds(SPEC, length=LENGTH, training="expanding") == 8
    assert count_fitting_folds(SPEC, length=LENGTH, training="rolling") == 8
    short = SPEC.model_copy(update={"pad_short": False, "context": 96})
    assert count_fitting_folds(short, length=LENGTH, training="expanding") == 6
    make_fold_spec(SPEC, length=LENGTH, folds=8, training="expanding")
    with pytest.raises(
        ValueError, match=r"9 folds of 48 test steps .* history of 480: .* at most 8 fit; ask for fewer"
    ):
        make_fold_spec(SPEC, length=LENGTH, folds=9, training="expanding")
    with pytest.raises(ValueError, match="none fits"):
        make_fold_spec(SPEC, length=60, folds=1, training="expanding")
    with pytest.raises(ValueError, match="1 fold at least, received folds=0"):
        make_fold_spec(SPEC, length=LENGTH, folds=0, training="expanding")


def test_folds_are_scored_drawn_and_make_one_long_envelope(table, tmp_path):
    tables = [
        tabulate_forecasts(Naive(), load_windows(cut(table, tmp_path / f"{fold}", SPEC, fold), "test"), season=24)
        for fold in range(3)
    ]
    scale = measure_scales(select_before_test(pd.read_parquet(table), SPEC), season=24)
    folds = tabulate_folds(tables, scale=scale)
    assert folds["cutoff"].is_monotonic_decreasing and len(folds) == 3
    np.testing.assert_allclose(folds["lstm"], folds["seasonal_naive"])
    shown = make_fold_table(folds)
    best = folds[list(find_baselines(folds))].mean().idxmin()
    better = [f"{1 - row['lstm'] / row[best]:+.0%}" for row in folds[::-1].to_dict("records")]
    assert [row[-2] for row in shown.rows] == better and shown.head[-2] == f"better than {name_model(best)}"
    assert shown.head[-1] == "inside 80%" and shown.rows[-1][0] == "2024-01-18 23:00:00"
    usual = envelope(pool_folds(tables), scales=scale, spec=SPEC)
    assert usual.period_steps == 24 and usual.num_periods == 6, "three tests of two days each"
    assert usual.error == pytest.approx(folds["lstm"].mean(), rel=0.05)
    assert plot_folds(folds).axes[0].get_ylabel() == "MASE"
    page = Report(name="panel, backtest", scores=None, tables=[shown])
    for text in (render_html(page), render_markdown(page)):
        assert "Scores by fold" in text and "2024-01-16 23:00:00" in text and f"better than {name_model(best)}" in text


def test_the_same_problem_may_be_tested_on_other_spans():
    model = ModelSpec(
        kind="mixture", hidden_dim=4, layer_dim=1, segment=1, dropout=0, normalisation="last", levels=(0.8,)
    )
    training = TrainingSpec(
        seed=0, device="cpu", precision="fp32", threads=1, max_steps=1, batch_size=1, learning_rate=0.1,
        weight_decay=0, gradient_clip=1, patience=1, refit=True,
    )  # fmt: skip
    plan = Plan(window=SPEC, model=model, training=training)
    after_drift = plan.model_copy(update={"window": SPEC.model_copy(update={"test_steps": 6, "validation_steps": 6})})
    assert is_same_problem(plan, after_drift)
    assert not is_same_problem(plan, plan.model_copy(update={"model": model.model_copy(update={"hidden_dim": 8})}))
    assert not is_same_problem(plan, plan.model_copy(update={"window": SPEC.model_copy(update={"context": 48})}))
