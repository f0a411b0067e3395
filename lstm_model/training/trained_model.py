"""Write a trained model as a folder: its weights, its card, its loss curve, and the weights of the search."""

from __future__ import annotations

import json
import platform
from importlib.metadata import version
from pathlib import Path

from safetensors.torch import save_file

from lstm_model.compute.device import DeviceChoice
from lstm_model.contracts.bundle_card import ModelCard, Start
from lstm_model.contracts.loss_history import LossRecord
from lstm_model.contracts.windows_meta import WindowsMeta
from lstm_model.forecast.bundle import save_bundle
from lstm_model.training.leakage import Seen
from lstm_model.training.train import Fitted
from lstm_model.training.warm_start import SEARCHED

HISTORY = "history.json"


def save_model(folder: Path, fitted: Fitted, card: ModelCard) -> None:
    """Write the model; a bundle adds to the folder what makes it one."""
    save_bundle(folder, fitted.forecaster, card)
    (folder / HISTORY).write_text(json.dumps(fitted.history, indent=1))
    if fitted.searched is not None:
        weights = fitted.searched.network.state_dict()
        save_file({name: t.detach().cpu().contiguous() for name, t in weights.items()}, folder / SEARCHED)


def read_history(folder: Path) -> list[LossRecord]:
    """Read the losses of a model's training."""
    history: list[LossRecord] = json.loads((folder / HISTORY).read_text())
    return history


def describe_model(
    windows_sha256: str, meta: WindowsMeta, fitted: Fitted, device: DeviceChoice, *, seen: Seen, start: Start
) -> ModelCard:
    """Return where a model comes from: what it was trained on, how, and what it has seen."""
    return ModelCard(
        **dict(seen.card()),
        windows_sha256=windows_sha256,
        cutoffs=meta.cutoffs,
        frequency=meta.frequency,
        covariates=meta.covariates,
        best_step=fitted.best_step,
        notes=fitted.notes,
        device=device.torch_device.type,
        precision=fitted.precision,
        versions={"python": platform.python_version(), **{name: version(name) for name in ("torch", "numpy")}},
        warm=start,
    )
