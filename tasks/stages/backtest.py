"""Summarise the folds of a backtest in one report."""

from __future__ import annotations

import json

from prefect import task
from prefect.cache_policies import NO_CACHE

from lstm_model.contracts.artifact import Artifact
from lstm_model.contracts.envelope import BacktestEnvelope
from lstm_model.contracts.stage_meta import BacktestMeta, SeriesMeta
from lstm_model.evaluation.backtest import Folds, pool_folds, tabulate_folds
from lstm_model.evaluation.evaluate import score
from lstm_model.lifecycle.envelope import envelope
from lstm_model.lifecycle.stage_outputs import ENVELOPE, read_forecasts, read_scales, read_scores
from lstm_model.reporting.facts import describe_folds
from lstm_model.reporting.figures import to_png
from lstm_model.reporting.fold_table import make_fold_table
from lstm_model.reporting.monitor_plots import plot_folds
from lstm_model.reporting.report import Report, make_picture, render_html, render_markdown
from lstm_model.storage.checksums import dump_json
from lstm_model.storage.store import Store

FOLDS = "folds.json"


@task(name="summarise folds", task_run_name="summarise folds", cache_policy=NO_CACHE, timeout_seconds=3600)
def summarise(name: str, folds: Folds, series: Artifact, scores: list[Artifact], store: Store) -> Artifact:
    """Write backtest.html, backtest.md, envelope.json and folds.json; the latest fold first.

    Raises:
        ValueError: a fold has no test window with an observed target.
    """
    for fold, one in enumerate(scores):
        if read_scores(one, store) is None:
            raise ValueError(
                f"fold {fold} of the backtest has no test window; its test of {folds.plan.window.test_steps} steps "
                "holds no whole window, or no series reaches it. Set a longer advanced.window.test_steps"
            )
    tables, scale = [read_forecasts(one, store) for one in scores], read_scales(scores[0], store)
    by_fold, everything = tabulate_folds(tables, scale=scale), pool_folds(tables)
    usual = envelope(everything, scales=scale, spec=folds.plan.window)
    facts = store.read_meta(series, SeriesMeta)
    found = score(everything, scale=scale)
    content = Report(
        name=f"{name}, backtest",
        scores=found,
        tables=[make_fold_table(by_fold)],
        pictures=[make_picture("folds", to_png(plot_folds(by_fold)))],
        num_values=facts.profile.num_observed + facts.repaired,
        num_repaired=facts.repaired,
        findings=facts.findings,
        run=describe_folds(folds, usual),
    )
    rows = by_fold.assign(cutoff=by_fold["cutoff"].astype(str)).to_dict(orient="records")
    with store.create("backtest") as draft:
        (draft.folder / "backtest.html").write_text(render_html(content), encoding="utf-8")
        (draft.folder / "backtest.md").write_text(render_markdown(content), encoding="utf-8")
        (draft.folder / FOLDS).write_text(json.dumps(rows, indent=1))
        kept = BacktestEnvelope(plan=folds.plan.model_dump(mode="json"), envelope=usual, series_sha256=series.sha256)
        (draft.folder / ENVELOPE).write_bytes(dump_json(kept, ENVELOPE))
        draft.num_rows, draft.meta = len(everything), BacktestMeta(verdict=found.headline.verdict).to_json()
    return draft.artifact
