"""Save a forecaster as a folder, and load it.

A bundle is `model.safetensors` (weights, covariate scaler, conformal offsets) and `bundle.json` (everything else: the
width of each series' intervals too).
No pickle: loading a bundle runs no code of its writer. The bytes depend only on the forecaster and its card.

A bundle may come from a stranger: the names, types and shapes of its tensors are compared with those of the network
that the record describes before anything is allocated for either.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from math import prod
from pathlib import Path
from reprlib import repr as shorten

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load, save_file
from torch import Tensor

from lstm_model.contracts.bundle_card import (
    FORMAT,
    RECORD,
    WAY_OUT,
    BundleError,
    BundleRecord,
    ModelCard,
    read_file,
    read_record,
    write_record,
)
from lstm_model.forecast.calibrate import Calibration
from lstm_model.forecast.forecaster import Forecaster
from lstm_model.networks.models import build_network

WEIGHTS = "model.safetensors"
OFFSETS = "conformal_offsets"
MAX_HEADER_BYTES = 1024**2
"""The largest network has about fifty tensors, whose names and shapes take some kilobytes."""


def save_bundle(folder: Path, forecaster: Forecaster, card: ModelCard) -> None:
    """Write a forecaster and its card into `folder`, which is made."""
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {name: t.detach().cpu().contiguous() for name, t in forecaster.network.state_dict().items()}
    if forecaster.calibration is not None:
        tensors[OFFSETS] = torch.from_numpy(np.ascontiguousarray(forecaster.calibration.offsets_JH))
    save_file(tensors, folder / WEIGHTS)
    record = BundleRecord(
        format=FORMAT,
        model=forecaster.spec,
        shape=forecaster.shape,
        scaler=forecaster.scaler,
        widths=forecaster.calibration.widths if forecaster.calibration else {},
        mean_share=forecaster.mean_share,
        weights_sha256=hashlib.sha256((folder / WEIGHTS).read_bytes()).hexdigest(),
        card=card.to_json(),
    )
    write_record(folder, record)


def load_bundle(folder: Path, *, device: str = "cpu") -> Forecaster:
    """Read a bundle back onto any device.

    Raises:
        BundleError: a file is missing, truncated or changed, or holds what no forecaster has.
    """
    record = read_record(folder)
    try:
        with torch.device("meta"):  # shapes without memory
            network = build_network(record.model, record.shape, record.scaler)
    except ValueError as error:
        raise BundleError(f"{folder / RECORD} describes no network: {error}. {WAY_OUT}") from error
    forecaster = Forecaster(network, record.model, record.shape, record.scaler, mean_share=record.mean_share)
    shapes: dict[str, Sequence[int]] = {name: t.shape for name, t in network.state_dict().items()}
    shapes[OFFSETS] = len(forecaster.quantiles) // 2, record.shape.horizon
    tensors = read_weights(folder / WEIGHTS, shapes, optional=(OFFSETS,), sha256=record.weights_sha256)
    offsets = tensors.pop(OFFSETS, None)
    _check_scaler(folder, record, tensors)
    network.load_state_dict(tensors, assign=True)
    network.to(device).eval()
    if offsets is None and record.widths:
        raise BundleError(f"{folder / RECORD} has widths of intervals without offsets in {WEIGHTS}. {WAY_OUT}")
    if offsets is not None:
        forecaster.calibration = Calibration(offsets.numpy(), record.widths)
    return forecaster


def read_weights(
    file: Path, shapes: Mapping[str, Sequence[int]], *, optional: Collection[str] = (), sha256: str | None = None
) -> dict[str, Tensor]:
    """Read the tensors of a safetensors file, all float32 and finite.

    Args:
        file: the file.
        shapes: of the tensors that are expected, by name.
        optional: those that may be missing.
        sha256: of the file's bytes, if it is known.

    Raises:
        BundleError: the file is missing, truncated or changed, or its tensors are others.
    """
    limit_bytes = 8 + MAX_HEADER_BYTES + 4 * sum(map(prod, shapes.values()))
    try:
        content = read_file(file, limit_bytes=limit_bytes)
    except BundleError as error:
        raise BundleError(f"{file} is missing, truncated or changed: {error}") from error
    if sha256 is not None and hashlib.sha256(content).hexdigest() != sha256:
        raise BundleError(f"{file} is missing, truncated or changed: its sha256 is not the one in {RECORD}. {WAY_OUT}")
    try:
        _check_header(_read_header(content), shapes, optional)
        # A copy has memory aligned as torch aligns it, which the last bit of a product may depend on.
        tensors = {name: tensor.clone() for name, tensor in load(content).items()}
        for name, tensor in tensors.items():
            if not tensor.isfinite().all():
                raise ValueError(f"its tensor {name!r} has values that are not finite")
    except (SafetensorError, ValueError, RecursionError) as error:
        reason = str(error)[:500]
        raise BundleError(f"{file} is not of a bundle that this version can read: {reason}. {WAY_OUT}") from error
    return tensors


def _read_header(content: bytes) -> dict[str, object]:
    """Return the header of a safetensors file: it begins with eight bytes that hold its length."""
    length = int.from_bytes(content[:8], "little")
    if length > min(MAX_HEADER_BYTES, len(content) - 8):
        raise ValueError(f"its header has {length:,} bytes, the file {len(content):,}")
    header = json.loads(content[8 : 8 + length])
    if not isinstance(header, dict):
        raise ValueError("its header names no tensors")
    header.pop("__metadata__", None)
    return header


def _check_header(header: Mapping[str, object], shapes: Mapping[str, Sequence[int]], optional: Collection[str]) -> None:
    missing = sorted(shapes.keys() - header.keys() - set(optional))
    unknown = sorted(header.keys() - shapes.keys())
    if missing or unknown:
        raise ValueError(f"it lacks the tensors {shorten(missing)}, and has {shorten(unknown)}, which are none of it")
    for name, facts in header.items():
        received = (facts.get("dtype"), facts.get("shape")) if isinstance(facts, dict) else facts
        if received != ("F32", list(shapes[name])):
            raise ValueError(
                f"its tensor {name!r} is {shorten(received)}, expected {('F32', list(shapes[name]))} by {RECORD}"
            )


def _check_scaler(folder: Path, record: BundleRecord, tensors: Mapping[str, Tensor]) -> None:
    """Check that the two places which hold the scaler of the covariates agree."""
    for role, pairs in record.scaler.items():
        if pairs and not torch.equal(tensors[f"{role}_scaler"], torch.tensor(pairs, dtype=torch.float32).T):
            raise BundleError(f"{folder} has two scalers of its {role} covariates, which differ. {WAY_OUT}")
