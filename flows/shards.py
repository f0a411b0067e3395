"""Run stages over the shards of a panel, side by side, and gather their results; one table takes one call."""

from __future__ import annotations

from typing import Any

from prefect import Task

from lstm_model.contracts.artifact import Artifact
from lstm_model.contracts.settings import Covariates, PipelineConfig, Source, SourceKind, WindowSpec
from lstm_model.lifecycle.stage_outputs import find_frame
from tasks.actions.look import look
from tasks.runtime.runner import StageRunner
from tasks.stages.divide import count_shards, divide
from tasks.stages.evaluate import evaluate, evaluate_shard
from tasks.stages.gather import gather_series, gather_windows, score_shards
from tasks.stages.generate import generate
from tasks.stages.ingest import ingest
from tasks.stages.predict import predict
from tasks.stages.survey import shards_of, survey
from tasks.stages.window import window


def ingest_source(run: StageRunner, config: PipelineConfig) -> Artifact:
    """Return the series of a problem, as they are now."""
    asked, scaling = {"request": config.select_data_settings(), **_find_bytes(run, config.source)}, config.scaling
    if not scaling.divides:
        return run(ingest, **asked)
    found = run(survey, **asked, shards=scaling.shards, shard_rows=scaling.shard_rows)
    if found.num_rows > 1:
        settled, ranges = shards_of(found, run.store)
        shards = run.each(ingest, [{**asked, "request": settled, "only": only} for only in ranges])
        return run(gather_series, shards=shards, whole=None, covariates=config.covariates)
    whole = run(ingest, **asked)
    count = count_shards(whole, scaling, run.store)
    if count < 2:
        return whole
    shards = run.each(divide, [{"series": whole, "shard": shard, "of": count} for shard in range(count)])
    return run(gather_series, shards=shards, whole=whole, covariates=config.covariates)


def _find_bytes(run: StageRunner, source: Source) -> dict[str, Any]:
    """Return an identity of the source's present bytes: their hash, or the generated artifact."""
    if source.kind is not SourceKind.synthetic:
        return {"fingerprint": look(source)}
    made = run(generate, **source.model_dump(include={"dataset", "num_series", "num_steps", "seed"}))
    return {"fingerprint": None, "generated": made}


def predict_next(run: StageRunner, config: PipelineConfig, series: Artifact, champion: Artifact) -> list[Artifact]:
    """Return the champion's forecasts of the next horizon of every series, shard by shard."""
    frame, shards = find_frame(series, run.store), run.store.shards(series)
    more: dict[str, Any] = {"champion": champion, **({} if frame is None else {"frame": frame})}
    more |= {"integers": True} if config.forecasting.integers else {}
    return run.each(predict, [{"series": shard, **more} for shard in shards])


def cut_windows(
    run: StageRunner,
    series: Artifact,
    spec: WindowSpec,
    covariates: Covariates,
    *,
    stage: Task[..., Any] = window,
) -> Artifact:
    """Return the windows of the latest fold."""
    return cut_folds(run, series, spec, covariates, folds=1, stage=stage)[0]


def cut_folds(
    run: StageRunner,
    series: Artifact,
    spec: WindowSpec,
    covariates: Covariates,
    *,
    folds: int,
    stage: Task[..., Any] = window,
) -> list[Artifact]:
    """Return the windows of each fold, the latest first."""
    asked = [{"spec": spec, "covariates": covariates, "fold": fold} for fold in range(folds)]
    frame, shards = find_frame(series, run.store), run.store.shards(series)
    if frame is None:
        return run.each(stage, [{"series": series, **one} for one in asked])
    made = run.each(stage, [{"series": shard, **one, "frame": frame} for one in asked for shard in shards])
    per_fold = [made[start : start + len(shards)] for start in range(0, len(made), len(shards))]
    return [run(gather_windows, shards=one) for one in per_fold]


def score_model(
    run: StageRunner,
    series: Artifact,
    windows: Artifact,
    model: Artifact,
    spec: WindowSpec,
    *,
    stage: Task[..., Any] = evaluate,
) -> Artifact:
    """Return the scores of a model on the test of its windows."""
    return score_folds(run, series, [(windows, model)], spec, stage=stage)[0]


def score_folds(
    run: StageRunner,
    series: Artifact,
    pairs: list[tuple[Artifact, Artifact]],
    spec: WindowSpec,
    *,
    stage: Task[..., Any] = evaluate,
) -> list[Artifact]:
    """Return the scores of each pair of windows and model."""
    frame, shards = find_frame(series, run.store), run.store.shards(series)
    if frame is None:
        return run.each(stage, [{"series": series, "windows": w, "model": m, "spec": spec} for w, m in pairs])
    asked = [
        {"series": shard, "windows": part, "model": model, "spec": spec, "frame": frame}
        for windows, model in pairs
        for shard, part in zip(shards, run.store.shards(windows), strict=True)
    ]
    made = run.each(evaluate_shard, asked)
    per_pair = [made[start : start + len(shards)] for start in range(0, len(made), len(shards))]
    return [run(score_shards, shards=one) for one in per_pair]
