"""Describe a bundle's record and the card in it, and read and write the file that holds both, without loading torch.

- `BundleRecord`: all of `bundle.json`: what the network is, and the card. It is sealed by the sha256 of its content.
  - `ModelCard`: where a model comes from; a training writes it.
  - `BundleFacts`: what a bundle adds to the card of its model.
  - `BundleCard`: both.

A bundle may come from a stranger, who can seal anything: every field has limits, and nothing is allocated or computed
for a value that is beyond them.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import stat
from pathlib import Path
from reprlib import repr as shorten
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    ValidationError,
    model_validator,
)
from pydantic.dataclasses import dataclass

from lstm_model.contracts.artifact import MANIFEST
from lstm_model.contracts.decision import Decision
from lstm_model.contracts.envelope import Envelope
from lstm_model.contracts.score_records import ScoreRecord
from lstm_model.contracts.settings import MOST_ALIAS, Covariates, ModelSpec, Plan
from lstm_model.contracts.windows_meta import EncodedCovariates, Scaler, Split

RECORD, FORMAT = "bundle.json", 1
MAX_RECORD_BYTES = 768 * 1024**2
"""A record with three facts about each of two million series, of long names, has about 400 MB."""
MAX_RECORD_VALUES = 16_000_000
"""Bounds the memory of a record: its values, and the commas and brackets in its texts."""
MAX_WIDTH = 100.0
"""Calibration gives at most a tenth of it."""
WAY_OUT = "Copy the bundle again from where it was made, or train a new one"

JsonObject = dict[str, JsonValue]
Card = TypeVar("Card", bound="ModelCard")
Model = TypeVar("Model", bound=BaseModel)
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
ShortText = Annotated[str, Field(max_length=100)]
Moment = (
    Annotated[str, Field(pattern=r"^\d{4}-\d\d-\d\d(T[0-9:.]{5,15})?$")] | Annotated[int, Field(ge=-(2**62), le=2**62)]
)
"""A `ds`: an ISO text, or an integer."""


class BundleError(ValueError):
    """A bundle cannot be used; the message names the file, what was received, what was expected and the way out."""


def _check_widths(widths: Any) -> Any:
    """Refuse at the first width that is no number or out of bounds: there may be one for each of a million series."""
    if not isinstance(widths, dict) or not set(map(type, widths.values())) <= {float, int}:
        raise ValueError("expected a number for each series")
    if widths and not (min(widths.values()) > 0 and max(widths.values()) <= MAX_WIDTH):
        raise ValueError(f"expected widths above 0 and at most {MAX_WIDTH:g}")
    return widths


def _check_scaler(scaler: Scaler) -> Scaler:
    if not all(len(pair) == 2 and pair[1] > 0 for pairs in scaler.values() for pair in pairs):
        raise ValueError("expected a mean and a deviation above 0 for each covariate")
    return scaler


@dataclass(frozen=True)
class InputShape:
    """The input and output sizes of a network; with a `ModelSpec` they define every parameter's shape."""

    context: Annotated[int, Field(ge=1, le=100_000)]
    horizon: Annotated[int, Field(ge=1, le=10_000)]
    season: Annotated[int, Field(ge=1, le=2**31)]
    past: Annotated[int, Field(ge=0, le=100_000)] = 0
    future: Annotated[int, Field(ge=0, le=100_000)] = 0
    static: Annotated[int, Field(ge=0, le=100_000)] = 0


class BundleRecord(BaseModel):
    """What `bundle.json` holds, beside the sha256 of all this that seals it."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    format: Literal[1]
    model: ModelSpec
    shape: InputShape
    scaler: Annotated[Scaler, AfterValidator(_check_scaler)]
    widths: Annotated[dict[str, float], BeforeValidator(_check_widths)]
    """How wide the intervals of a series are, see `forecast.calibrate.Calibration`."""
    mean_share: Annotated[float, Field(ge=0, le=2)] = 0.0
    """How far the mean goes beyond the median, see `forecast.mean`; early bundles issue the median."""
    weights_sha256: Sha256
    card: JsonObject
    """A `ModelCard` or a `BundleCard` as JSON: a network still loads where the card is that of another version."""

    @model_validator(mode="after")
    def _check_counts(self) -> Self:
        for role in ("past", "future", "static"):
            received, expected = len(self.scaler.get(role, ())), getattr(self.shape, role)
            if received not in (0, expected):
                raise ValueError(f"the scaler has {received} {role} covariates, the network has {expected}")
        return self


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

    parent: Sha256 | None = None
    """The sha256 of the bundle whose weights it went on from; None: from scratch."""
    generation: Annotated[int, Field(ge=0, le=10**9)] = 0
    """Warm starts since the last training from scratch."""
    reason: str = "no model to start from"

    def in_words(self) -> str:
        """Return the start in words, for logs and reports."""
        return f"{f'warm start {self.generation}' if self.parent else 'from scratch'}: {self.reason}"


class ModelCard(SeenRecord):
    """Where a model comes from: enough to explain a forecast years later."""

    windows_sha256: Sha256
    cutoffs: dict[Split, ShortText]
    frequency: Annotated[str, Field(max_length=MOST_ALIAS)]
    covariates: EncodedCovariates
    best_step: Annotated[int, Field(ge=0, le=10**12)]
    notes: list[str]
    device: ShortText
    precision: ShortText
    versions: dict[str, str]
    warm: Start | None = None
    """None on a card of an early version."""
    config: JsonObject | None = None
    """The config of the pipeline, which a bundle adds."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        name_covariates(self.covariates)  # which refuses a name that stands twice
        moments = [self.seen_through.train, self.seen_through.refit] if self.seen_through else []
        for by_series in (self.seen_through_by_series, self.searched_through_by_series):
            moments.extend((by_series or {}).values())
        if not set(map(type, moments)) <= {int if self.frequency == "1" else str}:
            raise ValueError(f"expected moments that fit the frequency {self.frequency}")
        return self

    def to_json(self) -> JsonObject:
        """Return the card as the record holds it: without the facts that it does not know."""
        absent = {name for name in WHERE_KNOWN if getattr(self, name) is None}
        return self.model_dump(mode="json", exclude=absent)


WHERE_KNOWN = (*SeenRecord.model_fields, "warm", "config")
"""The facts that a card holds only where they are known."""


class BundleFacts(BaseModel):
    """What a bundle adds to the card of its model."""

    model_config = ConfigDict(frozen=True)

    model_sha256: Sha256
    series_sha256: Sha256
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
        BundleError: the source's record is missing, truncated or changed, or a file of it is a link or a pipe.
    """
    sealed = _read_sealed(source)
    record = validate_part(BundleRecord, sealed, source / RECORD)
    for file in source.rglob("*"):
        if not file.is_dir() or file.is_symlink():
            check_file(file)
    shutil.copytree(source, target, ignore=shutil.ignore_patterns(MANIFEST, RECORD), dirs_exist_ok=True)
    # As the source has it, rather than as this version would write it: no key is added.
    _write_sealed(target, {**sealed, "card": record.card | added.model_dump(mode="json")})


def read_model_card(folder: Path) -> ModelCard:
    """Read what the card of a model or a bundle says of the model, without loading its weights.

    Raises:
        BundleError: the record is damaged, or its card lacks a fact.
    """
    return _read_card(folder, ModelCard)


def read_bundle_card(folder: Path) -> BundleCard:
    """Read the whole card of a bundle, without loading its weights.

    Raises:
        BundleError: the record is damaged, or its card lacks a fact.
    """
    return _read_card(folder, BundleCard)


def _read_card(folder: Path, kind: type[Card]) -> Card:
    record = read_record(folder)
    card = validate_part(kind, record.card, folder / RECORD, place="card")
    named, shape = card.covariates, record.shape
    received = len(named.past), len(named.future), len(named.static_columns)
    if received != (shape.past, shape.future, shape.static):
        raise BundleError(
            f"{folder / RECORD} names {received} past, future and static covariates, its network reads "
            f"{(shape.past, shape.future, shape.static)}. {WAY_OUT}"
        )
    return card


def name_covariates(encoded: EncodedCovariates) -> Covariates:
    """Return covariates by the names that they have in a series table, which has none of the calendar's."""
    computed = encoded.calendar.columns if encoded.calendar else ()

    def join(columns: list[str], categories: dict[str, list[str]]) -> tuple[str, ...]:
        names = {f"{name}={c}": name for name, found in categories.items() for c in found}
        return tuple(dict.fromkeys(names.get(column, column) for column in columns))

    return Covariates(
        static=join(encoded.static_columns, encoded.static_categories),
        past=join(encoded.past, encoded.categories),
        future=join([name for name in encoded.future if name not in computed], encoded.categories),
    )


def read_record(folder: Path) -> BundleRecord:
    """Read `bundle.json`, the card included.

    Raises:
        BundleError: it is missing, truncated, changed after it was written, of another format, or beyond the limits.
    """
    return validate_part(BundleRecord, _read_sealed(folder), folder / RECORD)


def write_record(folder: Path, record: BundleRecord) -> None:
    """Seal and write `bundle.json`."""
    _write_sealed(folder, record.model_dump(mode="json"))


def check_file(file: Path, *, limit_bytes: int | None = None) -> None:
    """Check that a file of a bundle is a regular one, before it is opened: a pipe would never end.

    Raises:
        BundleError: it is missing, too large, or a link, which may lead out of the bundle.
    """
    try:
        facts = file.lstat()
    except OSError as error:
        raise BundleError(f"{file} cannot be read: {error.strerror}. {WAY_OUT}") from error
    if not stat.S_ISREG(facts.st_mode):
        raise BundleError(f"{file} is a link, a pipe or a folder; a bundle consists of regular files. {WAY_OUT}")
    if limit_bytes is not None and facts.st_size > limit_bytes:
        raise BundleError(f"{file} has {facts.st_size:,} bytes, expected at most {limit_bytes:,}. {WAY_OUT}")


def read_file(file: Path, *, limit_bytes: int) -> bytes:
    """Read a file of a bundle, see `check_file`."""
    check_file(file, limit_bytes=limit_bytes)
    try:
        return file.read_bytes()
    except OSError as error:
        raise BundleError(f"{file} cannot be read: {error.strerror}. {WAY_OUT}") from error


def _read_sealed(folder: Path) -> JsonObject:
    """Return the content of the record once it is sure that it is what was written; the types are not checked."""
    file = folder / RECORD
    content = read_file(file, limit_bytes=MAX_RECORD_BYTES)
    if sum(map(content.count, (b",", b"[", b"{"))) > MAX_RECORD_VALUES:
        raise BundleError(f"{file} has more than {MAX_RECORD_VALUES:,} values. {WAY_OUT}")
    try:
        sealed = json.loads(content, parse_constant=_refuse_constant)
        record: JsonObject = {key: value for key, value in sealed.items() if key != "sha256"}
        is_whole = sealed["sha256"] == _digest(record)
    except (ValueError, KeyError, AttributeError, RecursionError) as error:
        raise BundleError(f"{file} cannot be read as a bundle's record: {str(error)[:200]}. {WAY_OUT}") from error
    if not is_whole:
        raise BundleError(f"{file} was changed after it was written: its sha256 does not match its content. {WAY_OUT}")
    return record


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not a number")


def validate_part(kind: type[Model], content: JsonObject, file: Path, *, place: str = "") -> Model:
    """Return a part of a record by its type; `place` is where it stands in the file.

    Raises:
        BundleError: it is of another version, or beyond the limits.
    """
    if kind is BundleRecord and content.get("format") != FORMAT:
        received = shorten(content.get("format"))
        raise BundleError(f"{file} has format {received}, this version reads {FORMAT}. Train a new model")
    try:
        return kind.model_validate(content)
    except (ValidationError, RecursionError) as error:
        raise BundleError(
            f"{file} is not a record that this version can read: {_describe(error, place)}. {WAY_OUT}"
        ) from error


def _describe(error: ValidationError | RecursionError, place: str) -> str:
    """Say in one line what was received and expected; names and values are a stranger's."""
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    if error.error_count() > 1000:  # to list a million takes minutes
        return f"{place or 'it'} has {error.error_count():,} values of another kind than is expected"
    first = error.errors(include_url=False, include_context=False)[0]
    where = ".".join(name for name in (place, *(str(part) for part in first["loc"])) if name)
    expected = first["msg"].removeprefix("Value error, ")
    return f"{shorten(where)[1:-1] or 'it'}: {expected}, received {shorten(first['input'])[:80]}"


def _write_sealed(folder: Path, record: JsonObject) -> None:
    sealed = {**record, "sha256": _digest(record)}
    text = json.dumps(sealed, indent=1, sort_keys=True, allow_nan=False)
    (folder / RECORD).write_text(text + "\n", encoding="utf-8")


def _digest(record: JsonObject) -> str:
    return hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()
