"""Describe a bundle's card, and read and write the record beside the weights that holds it, without loading torch.

A record is sealed: it holds the sha256 of its own content.
`ModelCard` is what a training writes; `BundleFacts` is what a bundle adds; `BundleCard` is both.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, JsonValue, ValidationError

from lstm_model.contracts.artifact import MANIFEST
from lstm_model.contracts.decision import Decision
from lstm_model.contracts.envelope import Envelope
from lstm_model.contracts.score_records import ScoreRecord
from lstm_model.contracts.settings import Covariates, Plan
from lstm_model.contracts.windows_meta import EncodedCovariates, Split

RECORD, FORMAT = "bundle.json", 1

JsonObject = dict[str, JsonValue]
Card = TypeVar("Card", bound="ModelCard")
Moment = str | int
"""A `ds`: an ISO text, or an integer."""


class LastTargets(BaseModel):
    """The last target that each stage of a training has seen, of all series."""

    model_config = ConfigDict(frozen=True)

    train: Moment
    """By the search, which has not seen the validation."""
    refit: Moment
    """By anything that was fitted."""


class SeenRecord(BaseModel):
    """What a model has seen, as its card keeps it; a card of an early version may not say it."""

    model_config = ConfigDict(frozen=True)

    seen_through: LastTargets | None = None
    seen_through_by_series: dict[str, Moment] | None = None
    """By anything that was fitted, where each series is cut at its own end."""
    searched_through_by_series: dict[str, Moment] | None = None


class Start(BaseModel):
    """Where a training started, and why there."""

    model_config = ConfigDict(frozen=True)

    parent: str | None = None
    """The sha256 of the bundle whose weights it went on from; None: from scratch."""
    generation: int = 0
    """Warm starts since the last training from scratch."""
    reason: str = "no model to start from"

    def in_words(self) -> str:
        """Return the start in words, for logs and reports."""
        return f"{f'warm start {self.generation}' if self.parent else 'from scratch'}: {self.reason}"


class ModelCard(SeenRecord):
    """Where a model comes from: enough to explain a forecast years later."""

    windows_sha256: str
    cutoffs: dict[Split, str]
    frequency: str
    covariates: EncodedCovariates
    best_step: int
    notes: list[str]
    device: str
    precision: str
    versions: dict[str, str]
    warm: Start | None = None
    """None on a card of an early version."""
    config: JsonObject | None = None
    """The config of the pipeline, which a bundle adds."""

    def to_json(self) -> JsonObject:
        """Return the card as the record holds it: without the facts that it does not know."""
        absent = {name for name in WHERE_KNOWN if getattr(self, name) is None}
        return self.model_dump(exclude=absent)


WHERE_KNOWN = (*SeenRecord.model_fields, "warm", "config")
"""The facts that a card holds only where they are known."""


class BundleFacts(BaseModel):
    """What a bundle adds to the card of its model."""

    model_config = ConfigDict(frozen=True)

    model_sha256: str
    series_sha256: str
    config: JsonObject
    """A `PipelineConfig` as JSON, since a bundle still forecasts where the config of another version no longer fits."""
    plan: JsonObject
    """A `Plan` as JSON, for the same reason."""
    decision: Decision
    scores: list[ScoreRecord]
    """A record a model and baseline; empty without a test."""
    envelope: Envelope | None
    """None without a test."""
    envelope_before_drift: Envelope | None = None
    """That of the champion before it, where the retraining was because of drift."""


class BundleCard(BundleFacts, ModelCard):
    """All that a bundle says of itself."""

    def read_plan(self) -> Plan:
        """Return the plan of its training.

        Raises:
            ValueError: it is one of another version.
        """
        return Plan.model_validate(self.plan)


def copy_bundle(source: Path, target: Path, added: BundleFacts) -> None:
    """Copy a model's folder, and all else that lies in it, with facts added to its card; `target` is made.

    The manifest stays behind: it belongs to the artifact that `source` is, and `target` is another.

    Raises:
        ValueError: the source's record is missing, truncated or changed.
    """
    record = read_record(source)
    shutil.copytree(source, target, ignore=shutil.ignore_patterns(MANIFEST, RECORD), dirs_exist_ok=True)
    write_record(target, {**record, "card": record["card"] | added.model_dump()})


def read_model_card(folder: Path) -> ModelCard:
    """Read what the card of a model or a bundle says of the model, without loading its weights.

    Raises:
        ValueError: the record is damaged, or its card lacks a fact.
    """
    return _read_card(folder, ModelCard)


def read_bundle_card(folder: Path) -> BundleCard:
    """Read the whole card of a bundle, without loading its weights.

    Raises:
        ValueError: the record is damaged, or its card lacks a fact.
    """
    return _read_card(folder, BundleCard)


def _read_card(folder: Path, kind: type[Card]) -> Card:
    try:
        return kind.model_validate(read_record(folder)["card"])
    except ValidationError as error:
        raise ValueError(f"{folder / RECORD} has a card that this version cannot read: {error}") from error


def name_covariates(encoded: EncodedCovariates) -> Covariates:
    """Return covariates by the names that they have in a series table."""
    columns = {f"{name}={c}": name for name, categories in encoded.static_categories.items() for c in categories}
    static = dict.fromkeys(columns.get(column, column) for column in encoded.static_columns)
    return Covariates(static=tuple(static), past=tuple(encoded.past), future=tuple(encoded.future))


def read_record(folder: Path) -> dict[str, Any]:
    """All of it, the card included.

    Raises:
        ValueError: it is missing, truncated, changed after it was written, or of another format.
    """
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


def write_record(folder: Path, record: dict[str, Any]) -> None:
    """Seal and write it."""
    sealed = {**record, "sha256": _digest(record)}
    (folder / RECORD).write_text(json.dumps(sealed, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def _digest(record: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()
