"""Build the values that tests of several rooms need, with a plain default for each field."""

import os
import socket
from contextlib import chdir
from pathlib import Path

from lstm_model.contracts.bundle_card import FORMAT, BundleCard, BundleRecord, InputShape, ModelCard, Start
from lstm_model.contracts.envelope import Envelope
from lstm_model.contracts.score_records import ScoreRecord
from lstm_model.contracts.settings import ModelSpec, PipelineConfig
from lstm_model.contracts.windows_meta import SPLITS, WindowsMeta


def _bind_socket(path: Path) -> None:
    with chdir(path.parent), socket.socket(socket.AF_UNIX) as server:
        server.bind(path.name)  # a whole path may be longer than is allowed


NO_FILES = {
    "pipe": os.mkfifo,
    "socket": _bind_socket,
    "folder": Path.mkdir,
    "link that leads nowhere": lambda path: path.symlink_to("nowhere"),
    "link to itself": lambda path: path.symlink_to(path.name),
}
"""Functions that put what is no file into the place of one, by its kind."""


def problem(**settings) -> PipelineConfig:
    """Build the config of a problem whose series are made here."""
    return PipelineConfig(**{"source": {"kind": "synthetic"}, **settings})


def windows_meta(**changes) -> WindowsMeta:
    """Build the metadata of windows without covariates, whose context is 8 and whose horizon is 2."""
    sizes = {name: dict.fromkeys(SPLITS, value) for name, value in (("stride", 1), ("lead", 8), ("min_context", 2))}
    cutoffs = dict(zip(SPLITS, ("79", "89", "99"), strict=True))
    geometry = {"context": 8, "horizon": 2, "frequency": "1", "season": 1, "align": "calendar", **sizes}
    covariates = {"past": [], "future": [], "static_columns": [], "static_categories": {}, "static": {}}
    none = {"past": [], "future": [], "static": []}
    found = {"windows": dict.fromkeys(SPLITS, 0), "cutoffs": cutoffs, "moments": none, "scaler": none}
    return WindowsMeta(**{**geometry, **covariates, **found, **changes})


def model_card(meta: WindowsMeta | None = None, **changes) -> ModelCard:
    """Build the card of a model that was trained on such windows."""
    return ModelCard(**{**_of_model(meta or windows_meta()), **changes})


def bundle_card(meta: WindowsMeta | None = None, **changes) -> BundleCard:
    """Build the card of a bundle whose model was trained on such windows."""
    decision = {"verdict": "promote", "summary": "a test"}
    facts = {"model_sha256": "1" * 64, "series_sha256": "2" * 64, "config": {}, "plan": {}, "decision": decision}
    return BundleCard(**{**_of_model(meta or windows_meta()), **facts, "scores": [], "envelope": None, **changes})


def score_record(**changes) -> ScoreRecord:
    """Build the scores of the LSTM on ten points; `coverage-80` and the like are among the changes."""
    errors = dict.fromkeys(("mae", "rmse", "smape", "mase", "rmsse", "pinball", "wql"), 0.5)
    return ScoreRecord(**{"model": "lstm", "count": 10, **errors, **changes})


def bundle_record(card: dict, **changes) -> BundleRecord:
    """Build the record of a bundle with this card, whose network reads no covariates."""
    spec = ModelSpec(hidden_dim=4, layer_dim=1, segment=1, normalisation="mean_std")
    shape = InputShape(context=8, horizon=2, season=1)
    network = {"model": spec, "shape": shape, "scaler": {}, "widths": {}, "weights_sha256": "3" * 64}
    return BundleRecord(**{"format": FORMAT, **network, "card": card, **changes})


def envelope_of(**changes) -> Envelope:
    """Build the envelope of a test of eight periods, in which the scaled error of one series was 1."""
    time = {"period_steps": 2, "horizon": 2, "frequency": "1", "num_cutoffs": 8, "num_periods": 8}
    errors = {"error": 1.0, "by_step": [1.0, 1.0], "by_series": {"a": 1.0}, "coverage": {"80": 0.8}, "num_series": 1}
    by_period = {"log_error": [0.0] * 8, "miss": [0.4] * 8, "spread": 0.1, "autocorrelation": 0.0}
    return Envelope(**{**time, **errors, **by_period, **changes})


def _of_model(meta: WindowsMeta) -> dict:
    trained = {"best_step": 1, "notes": [], "device": "cpu", "precision": "fp32", "versions": {}, "warm": Start()}
    data = {"cutoffs": meta.cutoffs, "frequency": meta.frequency, "covariates": meta.covariates}
    return {"windows_sha256": "0" * 64, **data, **trained}
