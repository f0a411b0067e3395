"""Show the scores of a backtest by fold, as a table of the report."""

from __future__ import annotations

import pandas as pd

from lstm_model.contracts.forecast_columns import find_coverage, show_level
from lstm_model.evaluation.baselines import find_baselines
from lstm_model.evaluation.scores import MODEL, name_model
from lstm_model.reporting.report import Table, format_number


def make_fold_table(folds: pd.DataFrame) -> Table:
    """Return the scores by fold as the report shows them, the oldest first."""
    shares, baselines = find_coverage(folds), find_baselines(folds)
    best = str(folds[list(baselines)].mean().idxmin())
    heads = {name: name_model(name) for name in dict.fromkeys((MODEL, "seasonal_naive", best))}
    rows = [
        [
            str(row["cutoff"]).removesuffix(" 00:00:00"),
            *(format_number(row[name]) for name in heads),
            f"{1 - row[MODEL] / row[best]:+.0%}" if row[best] > 0 else "–",
            *(f"{row[name]:.1%}" for name in shares),
        ]
        for row in folds.sort_values("cutoff").to_dict(orient="records")
    ]
    inside = [f"inside {show_level(level)}" for level in shares.values()]
    return Table(
        title="Scores by fold",
        head=["first cutoff", *heads.values(), f"better than {heads[best]}", *inside],
        rows=rows,
        note="MASE, with one denominator for all folds: 1 is seasonal naive's error before the latest test. "
        f"{heads[best][0].upper()}{heads[best][1:]} is the best baseline over all folds.",
    )
