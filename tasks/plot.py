"""Draw the plots of a training."""

from __future__ import annotations

import json

from prefect import task

from lstm_model.bundle import load_bundle
from lstm_model.config import WindowSpec
from lstm_model.figures import save
from lstm_model.gallery import Evaluation, Training, draw
from lstm_model.scaling import scales
from lstm_model.segments import rows_before_test
from lstm_model.store import Artifact, Store
from lstm_model.windows import load_windows
from tasks.caching import STAGE_POLICY
from tasks.kept import HISTORY, forecasts_of, scores_of, series_of, target_of


@task(name="plot", task_run_name="plot", cache_policy=STAGE_POLICY, timeout_seconds=3600)
def plot(
    series: Artifact, windows: Artifact, model: Artifact, scores: Artifact, spec: WindowSpec, store: Store
) -> Artifact:
    """One PNG a plot; `num_rows` counts them."""
    training = Training(
        forecaster=load_bundle(store.path(model)),
        history=json.loads((store.path(model) / HISTORY).read_text()),
        best_step=store.meta(model)["best_step"],
        train=load_windows(store.path(windows), "train"),
        test=load_windows(store.path(windows), "test"),
    )
    with store.create("plots") as draft:
        names = []
        for name, figure in draw(training, _evaluation(series, scores, spec, store), target=target_of(series, store)):
            save(figure, draft.folder / f"{name}.png")
            names.append(name)
        draft.num_rows = len(names)
        draft.meta = {"order": names}
    return draft.artifact


def _evaluation(series: Artifact, scores: Artifact, spec: WindowSpec, store: Store) -> Evaluation | None:
    found = scores_of(scores, store)
    if found is None:
        return None
    frame = series_of(series, store)
    scale = scales(rows_before_test(frame, spec), season=spec.season)
    return Evaluation(table=forecasts_of(scores, store), scores=found, scale=scale, series=frame)
