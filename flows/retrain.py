"""Train, evaluate and explain a forecaster from raw series; it takes over only if it is better.

python -m flows.retrain --data sales.csv --horizon 28
python -m flows.retrain --config deployments/pipelines/tutorial.yaml
"""

from __future__ import annotations

from typing import Literal

from prefect import flow

from flows.hooks import ENDINGS
from flows.shards import cut_windows, ingest_source, score_model
from lstm_model.contracts.artifact import Artifact
from lstm_model.contracts.resolved import Resolved
from lstm_model.contracts.settings import PipelineConfig, Plan
from lstm_model.lifecycle.rivalry import Comparison, find_rivalry, find_unchanged
from lstm_model.lifecycle.stage_outputs import Subject, read_decision
from tasks.actions.promote import Mode, settle
from tasks.actions.publish import Outcome, Pages, open_store, publish
from tasks.actions.receive import receive
from tasks.actions.resolve import resolve
from tasks.runtime.executors import threads
from tasks.runtime.resume import Pin, keep, recall
from tasks.runtime.runner import StageRunner
from tasks.stages.bundle import bundle
from tasks.stages.evaluate import evaluate
from tasks.stages.gate import gate
from tasks.stages.plot import plot
from tasks.stages.report import report
from tasks.stages.train import train
from tasks.stages.window import window

DRIFT = "drift"
"""A reason that begins so comes from the monitor."""
champion_window = window.with_options(name="window of champion", task_run_name="window of champion")
champion_evaluate = evaluate.with_options(name="evaluate champion", task_run_name="evaluate champion")


@flow(name="retrain", task_runner=threads(), **ENDINGS)
def retrain(
    config: PipelineConfig,
    store: str = "store",
    refresh: bool = False,
    promote: Mode = "auto",
    reason: str = "",
) -> Outcome:
    """Retrain one forecasting problem; stages whose inputs and code have not changed come from the cache.

    Args:
        config: The forecasting problem. Empty settings are inferred from the data and explained.
        store: Folder that keeps the artifacts; each problem has its own folder in it.
        refresh: Compute every stage again, from scratch, infer the settings again, and accept another source.
        promote: auto lets the new model take over if it is better, ask leaves that to you, never is for experiments.
        reason: Why, in words. If it begins with drift, only the latest data are trained and tested on.
    """
    run = StageRunner(open_store(store, config.name), config.scaling, refresh=refresh)
    on_damage: Literal["leave", "set aside"] = "leave" if promote == "never" else "set aside"
    start = recall(run)
    if start is None:
        series = receive(ingest_source(run, config), config, run.store, flow="retrain", accept=refresh)
        start = keep(run, series, if_damaged=on_damage, notify=config.notify)
    drifted = reason.startswith(DRIFT)
    resolved = resolve(config, start.series, run.store, refresh, drifted)

    # Build a challenger, and score it on the last part of the history, which it has not seen.
    challenger = build(run, config, start, resolved.plan)

    # Decide: compare it with the champion on targets that neither has seen, and bundle the model.
    bundled = find_unchanged(start.champion, challenger.model, run.store)
    if bundled is None:
        bundled = compare(run, config, start, challenger, resolved, drifted=drifted)

    # Publish: plots and the report; the bundle becomes champion if the decision and `promote` say so.
    plots = run(plot, about=challenger)
    decision = read_decision(bundled, run.store)
    page = run(report, about=challenger, bundle=bundled, resolved=resolved, plots=plots, decision=decision)
    settled = settle(bundled, start.champion, promote, config.name, config.notify, run.store)
    pages = Pages(scores=challenger.scores, plots=plots, report=page)
    return publish(resolved, pages, settled, run.records, run.store)


def build(run: StageRunner, config: PipelineConfig, start: Pin, plan: Plan) -> Subject:
    """Cut the windows, train on them, and score the model."""
    windows = cut_windows(run, start.series, plan.window, config.covariates)
    model = run(
        train.with_options(timeout_seconds=config.advanced.training.timeout_seconds),
        windows=windows,
        spec=plan.window,
        model=plan.model,
        training=plan.training,
        parent=None if run.refresh else start.champion,
        ray_address=config.scaling.ray_address,
    )
    scores = score_model(run, start.series, windows, model, plan.window)
    return Subject(series=start.series, windows=windows, model=model, scores=scores)


def compare(
    run: StageRunner, config: PipelineConfig, start: Pin, challenger: Subject, resolved: Resolved, *, drifted: bool
) -> Artifact:
    """Compare the challenger with the champion, if there is one, and bundle it with the decision."""
    plan = resolved.plan
    rival, champion_scores = find_rivalry(start.champion, config.covariates, plan, run.store), None
    if rival.champion and rival.spec:
        own = cut_windows(run, start.series, rival.spec, rival.covariates, stage=champion_window)
        champion_scores = score_model(run, start.series, own, rival.champion, rival.spec, stage=champion_evaluate)
    match = Comparison(
        model=challenger.model,
        scores=challenger.scores,
        rivalry=rival,
        champion_scores=champion_scores,
        damaged=start.damaged,
        spec=plan.window,
        rules=config.promotion,
    )
    decision = run(gate, match=match)
    return run(
        bundle,
        series=start.series,
        model=challenger.model,
        scores=challenger.scores,
        decision=decision,
        config=resolved.config,
        plan=plan,
        predecessor=rival.champion if drifted else None,
    )


if __name__ == "__main__":
    from flows.cli import main

    raise SystemExit(main())
