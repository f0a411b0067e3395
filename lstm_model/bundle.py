"""The folder that a forecaster is kept in.

A bundle is `model.safetensors` (weights, covariate scaler, conformal offsets) and `bundle.json` (everything else).
No pickle: loading a bundle runs no code of its writer. The bytes depend on the forecaster and its card alone.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from lstm_model.config import Covariates, ModelSpec
from lstm_model.forecaster import Forecaster
from lstm_model.models import InputShape, build_network
from lstm_model.store import MANIFEST

WEIGHTS, RECORD, FORMAT = "model.safetensors", "bundle.json", 1
OFFSETS = "conformal_offsets"


def save_bundle(folder: Path, forecaster: Forecaster, card: dict[str, Any]) -> None:
    """Write a forecaster and its card (any JSON: scores, data hash, versions) into `folder`, which is made."""
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {name: t.detach().cpu().contiguous() for name, t in forecaster.network.state_dict().items()}
    if forecaster.offsets_JH is not None:
        tensors[OFFSETS] = torch.from_numpy(np.ascontiguousarray(forecaster.offsets_JH))
    save_file(tensors, folder / WEIGHTS)
    record = {
        "format": FORMAT,
        "model": forecaster.spec.model_dump(mode="json"),
        "shape": asdict(forecaster.shape),
        "scaler": forecaster.scaler,
        "weights_sha256": hashlib.sha256((folder / WEIGHTS).read_bytes()).hexdigest(),
        "card": card,
    }
    _write_record(folder, record)


def copy_bundle(source: Path, target: Path, extra: dict[str, Any]) -> None:
    """Copy a model's folder, whatever else lies in it too, with `extra` added to its card; `target` is made.

    The manifest stays behind: it belongs to the artifact that `source` is, and `target` is another.

    Raises:
        ValueError: the source's record is missing, truncated or changed.
    """
    record = _read_record(source)
    shutil.copytree(source, target, ignore=shutil.ignore_patterns(MANIFEST, RECORD), dirs_exist_ok=True)
    _write_record(target, {**record, "card": record["card"] | extra})


def read_card(folder: Path) -> dict[str, Any]:
    """The card that was saved with a bundle, without loading its weights."""
    card: dict[str, Any] = _read_record(folder)["card"]
    return card


def covariates_of(card: dict[str, Any]) -> Covariates:
    """The covariates that a bundle reads, by the names that they have in a series table."""
    kept = card["covariates"]
    columns = {f"{name}={c}": name for name, categories in kept["static_categories"].items() for c in categories}
    static = dict.fromkeys(columns.get(column, column) for column in kept["static_columns"])
    return Covariates(static=tuple(static), past=tuple(kept["past"]), future=tuple(kept["future"]))


def load_bundle(folder: Path, *, device: str = "cpu") -> Forecaster:
    """Read a bundle back onto any device.

    Raises:
        ValueError: a file is missing, truncated or not what was written.
    """
    record = _read_record(folder)
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
    return Forecaster(network, spec, shape, record["scaler"], None if offsets is None else offsets.cpu().numpy())


def _read_record(folder: Path) -> dict[str, Any]:
    file = folder / RECORD
    try:
        sealed = json.loads(file.read_text(encoding="utf-8"))
        record = {key: value for key, value in sealed.items() if key != "sha256"}
        whole = sealed["sha256"] == _digest(record)
    except (OSError, ValueError, KeyError, AttributeError) as error:
        raise ValueError(f"{file} cannot be read as a bundle's record: {error!r}") from error
    if not whole:
        raise ValueError(f"{file} was changed after it was written: its sha256 does not match its content")
    if record["format"] != FORMAT:
        raise ValueError(f"{file} has format {record['format']}, this version reads {FORMAT}")
    return record


def _write_record(folder: Path, record: dict[str, Any]) -> None:
    sealed = {**record, "sha256": _digest(record)}
    (folder / RECORD).write_text(json.dumps(sealed, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def _digest(record: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()
