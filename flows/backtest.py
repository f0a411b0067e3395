"""Train and score the pipeline at several earlier cutoffs, to see how it would have done.

python -m flows.backtest --config deployments/pipelines/panel.yaml --folds 4
"""

from __future__ import annotations

from prefect import flow

from flows.hooks import ENDINGS
from flows.shards import cut_folds, ingest_source, score_folds
from lstm_model.contracts.settings import PipelineConfig
from lstm_model.evaluation.backtest import TrainingSpan
from tasks.actions.backtest import BacktestOutcome, plan_folds, publish_backtest
from tasks.actions.publish import open_store
from tasks.actions.receive import receive
from tasks.actions.resolve import resolve
from tasks.runtime.resume import keep, recall
from tasks.runtime.runner import StageRunner
from tasks.runtime.worker_processes import side_by_side
from tasks.stages.backtest import summarise
from tasks.stages.train import train


@flow(name="backtest", task_runner=side_by_side(), **ENDINGS)
def backtest(
    config: PipelineConfig,
    store: str = "store",
    folds: int = 4,
    refit: bool = True,
    training: TrainingSpan = "expanding",
) -> BacktestOutcome:
    """Forecast the past from several cutoffs; changes no champion. Stages computed before come from the cache.

    Args:
        config: The forecasting problem.
        store: Folder that keeps the artifacts; each problem has its own folder in it.
        folds: How many cutoffs, each one test span earlier than the one before.
        refit: Train again for each fold; without it the oldest fold's model forecasts all of them.
        training: expanding trains on all of the past of a fold, rolling on a span that is the same for all.
    """
    run = StageRunner(open_store(store, config.name), config.scaling)
    pin = recall(run)
    if pin is None:
        series = receive(ingest_source(run, config), config, run.store, flow="backtest")
        pin = keep(run, series, if_damaged="leave")
    series = pin.series
    resolved = resolve(config, series, run.store, refresh=False, drifted=False)
    asked = plan_folds(resolved.plan, series, folds, refit, training, run.store)
    plan, spec = asked.plan, asked.plan.window

    windows = cut_folds(run, series, spec, config.covariates, folds=folds)
    patient = train.with_options(timeout_seconds=config.advanced.training.timeout_seconds)
    settings = {"spec": spec, "model": plan.model, "training": plan.training, "ray_address": config.scaling.ray_address}
    trained = run.each(patient, [{"windows": one, **settings} for one in (windows if refit else windows[-1:])])
    models = trained if refit else trained * folds
    scores = score_folds(run, series, list(zip(windows, models, strict=True)), spec)
    page = run(summarise, name=config.name, folds=asked, series=series, scores=scores)
    return publish_backtest(config, asked, page, run.records, run.store)


if __name__ == "__main__":
    from flows.cli import main

    raise SystemExit(main("backtest"))
