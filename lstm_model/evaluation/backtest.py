"""Plan and score a backtest: the same forecasts from several earlier cutoffs.

Fold k is k test spans before the latest data. Training uses all of the past of a fold (expanding), or a span that
is the same for every fold (rolling); with a refit each fold has a model of its own, without one the oldest fold's
model forecasts all of them, which shows how fast it ages.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import pandas as pd
from pydantic import BaseModel, ConfigDict

from lstm_model.contracts.forecast_columns import find_coverage
from lstm_model.contracts.settings import Plan, WindowSpec
from lstm_model.evaluation.scores import MODEL

TrainingSpan = Literal["expanding", "rolling"]


class Folds(BaseModel):
    """How a backtest was asked for."""

    model_config = ConfigDict(frozen=True)

    number: int
    refit: bool
    training: TrainingSpan
    plan: Plan
    """Of every fold."""


def make_fold_spec(spec: WindowSpec, *, length: int, folds: int, training: TrainingSpan) -> WindowSpec:
    """Return the window settings of every fold.

    Args:
        spec: of the pipeline.
        length: steps of a usual series.
        folds: how many cutoffs.
        training: expanding or rolling.

    Raises:
        ValueError: the history is too short for this many folds; the message says how many fit.
    """
    if folds < 1:
        raise ValueError(f"a backtest needs 1 fold at least, received folds={folds}")
    fit = count_fitting_folds(spec, length=length, training=training)
    if folds > fit:
        most = f"at most {fit} fit; ask for fewer" if fit else "none fits"
        has, needs = max(0, _count_train_steps(spec, length, folds)), _count_needed_steps(spec, training)
        raise ValueError(
            f"{folds} folds of {spec.test_steps} test steps do not fit into a history of {length}: the oldest would "
            f"have {has} steps to train on and needs {needs}; "
            f"{most}, set a shorter advanced.window.test_steps, or bring a longer history"
        )
    steps = _count_train_steps(spec, length, folds) if training == "rolling" else None
    return spec.model_copy(update={"train_steps": steps})


def count_fitting_folds(spec: WindowSpec, *, length: int, training: TrainingSpan) -> int:
    """Return the most folds of which the oldest still has enough to train on."""
    if not spec.test_steps:
        return 0
    spare = length - spec.validation_steps - _count_needed_steps(spec, training)
    return max(0, spare // spec.test_steps)


def tabulate_folds(tables: Sequence[pd.DataFrame], *, scale: pd.DataFrame) -> pd.DataFrame:
    """Return one row a fold, in the order of the tables: first cutoff, MASE of each model, coverage of the LSTM.

    Args:
        tables: the forecast table of each fold.
        scale: of all folds: one denominator, so that folds compare.
    """
    from lstm_model.evaluation.evaluate import score  # needs torch; the monitor, which uses this module too, does not

    rows = []
    for table in tables:
        total = score(table, scale=scale).total.set_index("model")
        coverage = {name: total.loc[MODEL, name] for name in find_coverage(total)}
        mase = {str(model): value for model, value in total["mase"].items()}
        rows.append({"cutoff": table["cutoff"].min(), **mase, **coverage, "count": total.loc[MODEL, "count"]})
    return pd.DataFrame(rows)


def is_same_problem(plan: Plan, other: Plan) -> bool:
    """Return whether both plans have the same network and windows of one shape, so that errors compare."""
    spans = {"test_steps": 0, "validation_steps": 0, "train_steps": None, "evaluation_stride": 1}
    windows = (one.window.model_copy(update=spans) for one in (plan, other))
    return plan.model == other.model and next(windows) == next(windows)


def pool_folds(tables: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Return the forecasts of all folds in one table, oldest first, without bounds or baselines that some lack."""
    keep = [name for name in tables[0] if all(name in table for table in tables)]
    plain = [table[keep].assign(unique_id=table["unique_id"].astype(str)) for table in tables]
    return pd.concat(plain, ignore_index=True).sort_values("cutoff", kind="stable", ignore_index=True)


def _count_train_steps(spec: WindowSpec, length: int, folds: int) -> int:
    """Return the steps before the training cutoff of the oldest fold."""
    return length - folds * spec.test_steps - spec.validation_steps


def _count_needed_steps(spec: WindowSpec, training: TrainingSpan) -> int:
    """Return the fewest training steps: one whole window, or a padded one if contexts may be padded."""
    padded = spec.pad_short and training == "expanding"
    return spec.horizon + (spec.min_context if padded else spec.context)
