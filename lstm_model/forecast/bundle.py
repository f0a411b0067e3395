"""Save a forecaster as a folder, and load it.

A bundle is `model.safetensors` (weights, covariate scaler, conformal offsets) and `bundle.json` (everything else: the
width of each series' intervals too).
No pickle: loading a bundle runs no code of its writer. The bytes depend only on the forecaster and its card.
"""

from __future__ import annotations

import hashlib
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from lstm_model.contracts.bundle_card import FORMAT, RECORD, ModelCard, read_record, write_record
from lstm_model.contracts.settings import ModelSpec
from lstm_model.forecast.calibrate import Calibration
from lstm_model.forecast.forecaster import Forecaster
from lstm_model.networks.models import build_network
from lstm_model.networks.segmented import InputShape

WEIGHTS = "model.safetensors"
OFFSETS = "conformal_offsets"


def save_bundle(folder: Path, forecaster: Forecaster, card: ModelCard) -> None:
    """Write a forecaster and its card into `folder`, which is made."""
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {name: t.detach().cpu().contiguous() for name, t in forecaster.network.state_dict().items()}
    if forecaster.calibration is not None:
        tensors[OFFSETS] = torch.from_numpy(np.ascontiguousarray(forecaster.calibration.offsets_JH))
    save_file(tensors, folder / WEIGHTS)
    record = {
        "format": FORMAT,
        "model": forecaster.spec.model_dump(mode="json"),
        "shape": asdict(forecaster.shape),
        "scaler": forecaster.scaler,
        "widths": forecaster.calibration.widths if forecaster.calibration else {},
        "weights_sha256": hashlib.sha256((folder / WEIGHTS).read_bytes()).hexdigest(),
        "card": card.to_json(),
    }
    write_record(folder, record)


def load_bundle(folder: Path, *, device: str = "cpu") -> Forecaster:
    """Read a bundle back onto any device.

    Raises:
        ValueError: a file is missing, truncated or changed.
    """
    record = read_record(folder)
    weights = folder / WEIGHTS
    if not weights.is_file() or hashlib.sha256(weights.read_bytes()).hexdigest() != record["weights_sha256"]:
        raise ValueError(f"{weights} is missing, truncated or changed: its sha256 is not the one in {RECORD}")
    try:
        spec, shape = ModelSpec.model_validate(record["model"]), InputShape(**record["shape"])
        tensors = load_file(weights, device=device)
        offsets = tensors.pop(OFFSETS, None)
        with torch.random.fork_rng(devices=[]):  # the weights are replaced; the caller's random state is not touched
            network = build_network(spec, shape, record["scaler"])
        network.load_state_dict(tensors)
    except (ValidationError, SafetensorError, RuntimeError, TypeError, KeyError) as error:
        raise ValueError(f"{folder} is not a bundle that this version can read: {error}") from error
    network.to(device).eval()
    calibration = None if offsets is None else Calibration(offsets.cpu().numpy(), record.get("widths", {}))
    return Forecaster(network, spec, shape, record["scaler"], calibration)
