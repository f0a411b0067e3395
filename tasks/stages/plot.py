"""Draw the plots of a training."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from prefect import task
from prefect.cache_policies import NO_CACHE

from lstm_model.contracts.artifact import Artifact
from lstm_model.contracts.stage_meta import ModelMeta, PlotsMeta
from lstm_model.lifecycle.stage_outputs import (
    Subject,
    folders_of,
    forecasts_of,
    scales_of,
    scores_of,
    series_of,
    target_of,
)
from lstm_model.storage.store import Store

if TYPE_CHECKING:
    from lstm_model.reporting.gallery import Evaluation


@task(name="plot", task_run_name="plot", cache_policy=NO_CACHE, timeout_seconds=3600)
def plot(about: Subject, store: Store) -> Artifact:
    """One PNG a plot; `num_rows` counts them."""
    from lstm_model.forecast.bundle import load_bundle
    from lstm_model.reporting.figures import save_figure
    from lstm_model.reporting.gallery import EXACT, Training, draw_plots
    from lstm_model.training.trained_model import HISTORY
    from lstm_model.windows.in_memory import load_windows

    folders = folders_of(about.windows, store)
    training = Training(
        forecaster=load_bundle(store.path(about.model)),
        history=json.loads((store.path(about.model) / HISTORY).read_text()),
        best_step=store.read_meta(about.model, ModelMeta).best_step,
        train=lambda: load_windows(folders, "train"),
        test=load_windows(folders, "test"),
    )
    with store.create("plots") as draft:
        names = []
        for name, figure in draw_plots(training, _evaluation(about, store), target=target_of(about.series, store)):
            save_figure(figure, draft.folder / f"{name}.png", exact=name in EXACT)
            names.append(name)
        draft.num_rows = len(names)
        draft.meta = PlotsMeta(order=names).to_json()
    return draft.artifact


def _evaluation(about: Subject, store: Store) -> Evaluation | None:
    from lstm_model.reporting.evaluation_plots import pick_series
    from lstm_model.reporting.gallery import Evaluation

    found = scores_of(about.scores, store)
    if found is None:
        return None
    return Evaluation(
        table=forecasts_of(about.scores, store),
        scores=found,
        scale=scales_of(about.scores, store),
        series=series_of(about.series, store, only=list(pick_series(found.per_series).values())),
    )
