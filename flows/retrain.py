"""Raw series in, an evaluated and explained forecaster out.

python -m flows.retrain --data sales.csv --horizon 28
python -m flows.retrain --config deployments/pipelines/tutorial.yaml
"""

from __future__ import annotations

from prefect import flow

from flows.hooks import tell_crash, tell_failure
from lstm_model.config import PipelineConfig
from tasks.caching import StageRunner
from tasks.evaluate import evaluate
from tasks.ingest import ingest
from tasks.plot import plot
from tasks.publish import Outcome, open_store, publish
from tasks.report import report
from tasks.resolve import resolve
from tasks.source import look
from tasks.train import train
from tasks.window import window

DEFAULT = PipelineConfig()


@flow(name="retrain", on_failure=[tell_failure], on_crashed=[tell_crash])
def retrain(config: PipelineConfig = DEFAULT, store: str = "store", refresh: bool = False) -> Outcome:
    """Retrain one forecasting problem; stages whose inputs and code have not changed come from the cache.

    Args:
        config: The forecasting problem. What is left empty is inferred from the data and explained.
        store: Folder that keeps the artifacts; each problem has its own folder in it.
        refresh: Compute every stage again, and choose again what was inferred.
    """
    run = StageRunner(open_store(store, config.name), refresh=refresh)
    seen = look(config.source)
    series = run(ingest, request=config.data_section(), fingerprint=seen)
    resolved = resolve(config, series, run.store, refresh)
    spec = resolved.plan.window

    windows = run(window, series=series, spec=spec, covariates=config.covariates, fold=0)
    patient = train.with_options(timeout_seconds=config.advanced.training.timeout_seconds)
    model = run(patient, windows=windows, spec=spec, model=resolved.plan.model, training=resolved.plan.training)
    scores = run(evaluate, series=series, windows=windows, model=model, spec=spec)
    plots = run(plot, series=series, windows=windows, model=model, scores=scores, spec=spec)
    page = run(report, resolved=resolved, series=series, windows=windows, model=model, scores=scores, plots=plots)
    return publish(resolved.config, scores, plots, page, run.records, run.store)


if __name__ == "__main__":
    from flows.cli import main

    raise SystemExit(main())
