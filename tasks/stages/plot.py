"""Draw the plots of a training."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prefect import task
from prefect.cache_policies import NO_CACHE

from lstm_model.contracts.artifact import Artifact
from lstm_model.contracts.stage_meta import ModelMeta, PlotsMeta
from lstm_model.lifecycle.stage_outputs import (
    Subject,
    list_folders,
    read_clock,
    read_forecasts,
    read_scales,
    read_scores,
    read_target_name,
    read_targets,
)
from lstm_model.storage.store import Store

if TYPE_CHECKING:
    from lstm_model.reporting.gallery import Evaluation


@task(name="plot", task_run_name="plot", cache_policy=NO_CACHE, timeout_seconds=3600)
def plot(about: Subject, store: Store) -> Artifact:
    """Draw every plot as a PNG; `num_rows` counts them."""
    from lstm_model.forecast.bundle import load_bundle
    from lstm_model.reporting.figures import save_figure
    from lstm_model.reporting.gallery import EXACT, Training, draw_plots
    from lstm_model.training.trained_model import read_history
    from lstm_model.windows.in_memory import load_windows

    folders = list_folders(about.windows, store)
    training = Training(
        forecaster=load_bundle(store.path(about.model)),
        history=read_history(store.path(about.model)),
        best_step=store.read_meta(about.model, ModelMeta).best_step,
        train=lambda: load_windows(folders, "train"),
        test=load_windows(folders, "test"),
    )
    target = read_target_name(about.series, store)
    with store.create("plots") as draft:
        names = []
        for name, figure in draw_plots(training, _evaluation(about, store), target=target):
            save_figure(figure, draft.folder / f"{name}.png", exact=name in EXACT)
            names.append(name)
        draft.num_rows = len(names)
        draft.meta = PlotsMeta(order=names).to_json()
    return draft.artifact


def _evaluation(about: Subject, store: Store) -> Evaluation | None:
    from lstm_model.reporting.evaluation_plots import pick_series
    from lstm_model.reporting.gallery import Evaluation
    from lstm_model.timeline.time_zones import to_wall_time

    found = read_scores(about.scores, store)
    if found is None:
        return None
    clock = read_clock(about.series, store)
    history = read_targets(about.series, store, only=list(pick_series(found.per_series).values()))
    return Evaluation(
        table=to_wall_time(read_forecasts(about.scores, store), clock),
        scores=found,
        scale=read_scales(about.scores, store),
        series=to_wall_time(history, clock),
    )
