"""Train on whatever device is there, and keep the forecaster as a bundle."""

from __future__ import annotations

import json
import platform
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

from prefect import task

from lstm_model.bundle import save_bundle
from lstm_model.config import ModelSpec, Plan, TrainingSpec, WindowSpec
from lstm_model.device import DeviceChoice, exclusive, select_device
from lstm_model.store import Artifact, Store
from lstm_model.train import Fitted, fit
from lstm_model.warm import Start, seen_by
from lstm_model.windows import load_windows
from tasks.caching import STAGE_POLICY
from tasks.kept import HISTORY
from tasks.logs import forwarded_logs
from tasks.progress import shown_progress

LOCKS = Path(tempfile.gettempdir()) / "evergreen-gpu-locks"
"""One place for the whole machine: two stores must not share a GPU either."""


@task(name="train", task_run_name="train", cache_policy=STAGE_POLICY)
def train(
    windows: Artifact,
    spec: WindowSpec,
    model: ModelSpec,
    training: TrainingSpec,
    store: Store,
    parent: Artifact | None = None,
) -> Artifact:
    """A model as an Artifact, with the loss curve beside it; `num_rows` is the number of training windows.

    Args:
        windows: what to train on.
        spec: how they were cut.
        model: the network.
        training: the loop.
        store: of this problem.
        parent: the bundle to go on from where it fits; outside the cache key.
    """
    folder = store.path(windows)
    about = json.loads((folder / "windows.json").read_text())
    device = select_device(training.device, training.precision, lock_folder=LOCKS)
    with forwarded_logs("lstm_model"), exclusive(device, LOCKS), shown_progress("training") as on_progress:
        examples, validation = load_windows(folder, "train"), load_windows(folder, "validation")
        fitted = fit(
            examples,
            validation,
            plan=Plan(window=spec, model=model, training=training),
            scaler=about["scaler"],
            device=device,
            on_progress=on_progress,
        )
    with store.create("model") as draft:
        seen = seen_by(examples, validation).card(by_series=spec.align == "end")
        card = {**card_of(windows, about, fitted, device), **seen, **Start().card()}
        save_bundle(draft.folder, fitted.forecaster, card)
        (draft.folder / HISTORY).write_text(json.dumps(fitted.history, indent=1))
        draft.num_rows = len(examples)
        draft.meta = {key: card[key] for key in ("best_step", "notes", "device", "precision")}
    return draft.artifact


def card_of(windows: Artifact, about: dict[str, Any], fitted: Fitted, device: DeviceChoice) -> dict[str, Any]:
    """Where a model comes from: enough to explain a forecast years later."""
    return {
        "windows_sha256": windows.sha256,
        "cutoffs": about["cutoffs"],
        "frequency": about["frequency"],
        "covariates": {key: about[key] for key in ("past", "future", "static_columns", "static_categories")},
        "best_step": fitted.best_step,
        "notes": fitted.notes,
        "device": device.torch_device.type,
        "precision": device.precision,
        "versions": {"python": platform.python_version(), **{name: version(name) for name in ("torch", "numpy")}},
    }
