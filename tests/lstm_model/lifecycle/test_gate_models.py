"""The gate on models that were really trained: a good one, one on shuffled targets, one that has seen its test."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from lstm_model.compute.device import DeviceChoice
from lstm_model.contracts.settings import ModelSpec, Plan, Promotion, TrainingSpec, WindowSpec
from lstm_model.evaluation.error_scales import measure_scales
from lstm_model.evaluation.evaluate import tabulate_forecasts
from lstm_model.lifecycle.promotion import Gate, LeakError, common_targets, decide
from lstm_model.training.leakage import Seen
from lstm_model.training.train import fit
from lstm_model.windows.in_memory import Windows

CONTEXT, HORIZON, TEST = 36, 12, 96
PLAN = Plan(
    window=WindowSpec(
        context=CONTEXT, horizon=HORIZON, season=12, frequency="1", stride=1, evaluation_stride=1, test_steps=TEST,
        validation_steps=HORIZON, align="calendar", pad_short=True,
    ),
    model=ModelSpec(
        kind="mixture", hidden_dim=16, layer_dim=1, segment=6, dropout=0.1, normalisation="mean_std", levels=(0.8,)
    ),
    training=TrainingSpec(
        seed=0, device="cpu", precision="fp32", threads=1, max_steps=120, batch_size=32, learning_rate=5e-3,
        weight_decay=0.01, gradient_clip=1.0, patience=5, refit=True,
    ),
)  # fmt: skip


def series(num_steps=400):
    rng, t = np.random.default_rng(0), np.arange(num_steps)
    waves = [1 + 0.8 * np.sin(2 * np.pi * t / 36 + rng.uniform(0, 6)) for _ in range(6)]
    return [50 + 10 * wave * np.sin(2 * np.pi * t / 12) + rng.normal(0, 0.5, num_steps) for wave in waves]


SERIES = series()
RULES = Gate(
    scale=measure_scales({str(i): y[:-TEST] for i, y in enumerate(SERIES)}, season=12),
    horizon=HORIZON,
    stride=1,
    own_ends=False,
    settings=Promotion(),
)


def cut(first, last):
    """Windows whose targets are the steps [first, last), on the time axis of the whole series."""
    windows = Windows.from_arrays([y[first - CONTEXT : last] for y in SERIES], context=CONTEXT, horizon=HORIZON)
    return replace(windows, cutoff_W=windows.cutoff_W + first - CONTEXT)


def trained(train, validation, **training):
    plan = PLAN.model_copy(update={"training": PLAN.training.model_copy(update=training)})
    device = DeviceChoice("cpu", "fp32", 1, "a test")
    fitted = fit(train, validation, plan=plan, scaler={}, device=device)
    card = Seen.in_windows(train, validation, by_series=False).card()
    table = tabulate_forecasts(fitted.forecaster, cut(len(SERIES[0]) - TEST, len(SERIES[0])), season=12)
    return table, Seen.on_card(card, by_series=False)


@pytest.fixture(scope="module")
def splits():
    end = len(SERIES[0]) - TEST
    return cut(CONTEXT, end - 48), cut(end - 48, end)


@pytest.fixture(scope="module")
def good(splits):
    return trained(*splits)


def gated(challenger, champion=None):
    seen = [challenger[1], *([champion[1]] if champion else [])]
    table = common_targets(challenger[0], champion[0] if champion else None, seen=seen, gate=RULES)
    return decide(table, champion="champion" if champion else None, gate=RULES)


def shuffled_targets(windows):
    """Each window learns another window's future: what it is judged on is untouched."""
    values = windows.values_N.clone()
    generator = torch.Generator().manual_seed(0)
    return replace(windows, values_N=values[torch.randperm(len(values), generator=generator)])


def test_a_good_first_model_is_promoted_and_a_better_one_replaces_a_weak_one(splits, good):
    assert gated(good).verdict == "promote" and not gated(good).warnings
    weak = trained(*splits, max_steps=1)
    decision = gated(good, weak)
    assert decision.verdict == "promote" and decision.num_cutoffs == 8 and decision.p_value < 0.01
    assert gated(weak, good).verdict == "reject"


def test_a_challenger_trained_on_shuffled_targets_is_rejected(splits, good):
    train, validation = splits
    shuffled = trained(shuffled_targets(train), shuffled_targets(validation))
    decision = gated(shuffled, good)
    assert decision.verdict == "reject" and decision.improvement < 0


def test_the_same_model_is_a_tie(good):
    assert gated(good, good).verdict == "reject"


def test_windows_that_leak_raise(splits, good):
    train, _ = splits
    leaked = trained(train, cut(len(SERIES[0]) - TEST - 47, len(SERIES[0]) - TEST + 1), max_steps=2)
    with pytest.raises(LeakError, match="has seen targets up to 304, but its test begins after 303"):
        gated(leaked, good)
