"""Train, evaluate and explain a forecaster from raw series; it takes over only where it is better.

python -m flows.retrain --data sales.csv --horizon 28
python -m flows.retrain --config deployments/pipelines/tutorial.yaml
"""

from __future__ import annotations

from typing import Any

from prefect import flow

from flows.hooks import tell_crash, tell_failure
from flows.shards import cut, judge, read
from lstm_model.contracts.settings import PipelineConfig
from tasks.actions.promote import Mode, settle
from tasks.actions.publish import Outcome, Pages, open_store, publish
from tasks.actions.resolve import resolve
from tasks.runtime.caching import StageRunner
from tasks.runtime.executors import threads
from tasks.runtime.resume import keep, recall
from tasks.stages.bundle import bundle, unchanged
from tasks.stages.evaluate import evaluate
from tasks.stages.gate import gate, rivalry
from tasks.stages.plot import plot
from tasks.stages.report import report
from tasks.stages.stage_outputs import Subject, decision_of
from tasks.stages.train import train
from tasks.stages.window import window

DEFAULT = PipelineConfig()
DRIFT = "drift"
"""A reason that begins so comes from the monitor."""
champion_window = window.with_options(name="window of champion", task_run_name="window of champion")
champion_evaluate = evaluate.with_options(name="evaluate champion", task_run_name="evaluate champion")


@flow(name="retrain", task_runner=threads(), on_failure=[tell_failure], on_crashed=[tell_crash])
def retrain(
    config: PipelineConfig = DEFAULT,
    store: str = "store",
    refresh: bool = False,
    promote: Mode = "auto",
    reason: str = "",
) -> Outcome:
    """Retrain one forecasting problem; stages whose inputs and code have not changed come from the cache.

    Args:
        config: The forecasting problem. What is left empty is inferred from the data and explained.
        store: Folder that keeps the artifacts; each problem has its own folder in it.
        refresh: Compute every stage again, from scratch, and choose again what was inferred.
        promote: auto lets the new model take over where it is better, ask leaves that to you, never is for experiments.
        reason: Why, in words. Where it begins with drift, the latest data alone are trained and tested on.
    """
    run = StageRunner(open_store(store, config.name), config.scaling, refresh=refresh)
    pin = recall(run) or keep(run, read(run, config))
    series, champion = pin.series, pin.champion
    drifted = reason.startswith(DRIFT)
    resolved = resolve(config, series, run.store, refresh, drifted)
    plan, spec = resolved.plan, resolved.plan.window

    (windows,) = cut(run, series, spec, config.covariates)
    patient = train.with_options(timeout_seconds=config.advanced.training.timeout_seconds)
    parent = None if refresh else champion
    settings: dict[str, Any] = {"spec": spec, "model": plan.model, "training": plan.training}
    model = run(patient, windows=windows, **settings, parent=parent, ray_address=config.scaling.ray_address)
    (scores,) = judge(run, series, [(windows, model)], spec)

    made = unchanged(champion, model, run.store)
    if made is None:
        rival, standing = rivalry(champion, config, plan, run.store), None
        if rival.champion and rival.spec:
            (own,) = cut(run, series, rival.spec, rival.covariates, stage=champion_window)
            (standing,) = judge(run, series, [(own, rival.champion)], rival.spec, stage=champion_evaluate)
        rules = config.promotion
        decided = run(gate, model=model, scores=scores, rivalry=rival, standing=standing, spec=spec, rules=rules)
        whole = {"series": series, "model": model, "scores": scores, "decision": decided}
        before = rival.champion if drifted else None
        made = run(bundle, **whole, config=resolved.config, plan=plan, predecessor=before)

    about = Subject(series=series, windows=windows, model=model, scores=scores)
    plots = run(plot, about=about)
    page = run(report, about=about, resolved=resolved, plots=plots, decision=decision_of(made, run.store))
    settled = settle(made, champion, promote, config.name, config.notify, run.store)
    return publish(resolved.config, Pages(scores=scores, plots=plots, report=page), settled, run.records, run.store)


if __name__ == "__main__":
    from flows.cli import main

    raise SystemExit(main())
