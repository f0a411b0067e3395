"""Define every setting of the pipeline as validated models; also the form in the UI.

A user writes a `PipelineConfig` in YAML, the command line fills it in, and the Prefect UI shows it as a form.
A field that is `None` is inferred from the data (`series/infer.py`), which turns the config into the required values
of a `Plan`: the specs that the stages take. Everything here is small, frozen and JSON-serialisable.
"""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Annotated, Any, ClassVar, Literal, Self, get_args

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from lstm_model.contracts.calendar_features import MOST_DAYS, CalendarFeatures
from lstm_model.contracts.redaction import find_secret, find_secret_in_text

Level = Annotated[float, Field(gt=0, lt=1)]
Dataset = Literal["panel", "sine"]
ProblemName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,62}$")]
"""Becomes the name of a folder: nothing in it leads out of the store."""

PASSWORD_PLACE = r"^(env:[A-Za-z_][A-Za-z0-9_]*|secret:[A-Za-z0-9_-]+)$"
BLOCK_NAME = r"^[a-z0-9-]+/[a-z0-9-]+$"
DATABASE_URL = re.compile(r"[a-z][a-z0-9_]*(\+[a-z0-9_]+)?://", re.IGNORECASE)
RAY_ADDRESS = r"^(local|auto|(ray://)?[A-Za-z0-9_.\[\]:-]+:[0-9]{1,5})$"
YEAR_SECONDS = 366 * 86_400
MOST = 1_000_000_000
"""Of whatever is counted: more is a slip of the finger, and would overflow somewhere."""

SOURCES = (
    "say where the series come from: a path (files), a url and a query (a database), or kind: synthetic (made here). "
    "On a command line, --data FILE or --config FILE"
)

MOST_ALIAS = 1000
"""Characters of a frequency with its open hours and closed dates."""

INSTEAD = {
    "url": "name where it is kept in password_from, as env:NAME or secret:NAME",
    "path": "use the storage's own configuration (such as AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY), or a copy",
    "notify": "save the webhook as a notification block in Prefect, to name it here as type/name",
}
"""By setting: the way out for whoever has put a secret there."""
ELSEWHERE = "keep it outside of the settings"


class ConfigModel(BaseModel):
    """Base of every section: immutable, and unknown keys are an error rather than a silent typo."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        use_attribute_docstrings=True,
        hide_input_in_errors=True,
        allow_inf_nan=False,
        str_max_length=100_000,
    )

    has_addresses: ClassVar[bool] = True
    """False: its texts are names of columns, which may look like much: only a whole address in one is searched."""

    @field_validator("*", mode="before")
    @classmethod
    def _check_plain(cls, value: Any, info: ValidationInfo) -> Any:
        """Refuse a secret, which would be stored and logged with the config, and true for a number, where it is 1."""
        name = str(info.field_name)
        search = find_secret if cls.has_addresses and name != "query" else find_secret_in_text
        for text in value if isinstance(value, list | tuple) else [value]:
            if isinstance(text, str) and (found := search(text)):
                raise ValueError(
                    f"contains {found}; it would be stored and logged. Remove it and {INSTEAD.get(name, ELSEWHERE)}"
                )
        if isinstance(value, bool) and not any(kind is bool for kind in _list_types(cls.model_fields[name].annotation)):
            raise ValueError(f"{str(value).lower()} is no value for it; a text such as no needs quotes")
        return value


def _list_types(annotation: Any) -> list[Any]:
    """Return a field's type, or all types of a union."""
    return [annotation, *get_args(annotation)]


def _check_port(address: str | None) -> None:
    """Refuse a port that is none; what stands there is not shown, since it may be a password without its host."""
    _, scheme, rest = (address or "").partition("://")
    host = re.split("[/?#]", rest.rpartition("@")[2])[0]
    port = re.sub(r"^\[[^]]*\]", "", host).partition(":")[2]
    if scheme and "::" not in str(address) and port and not (port.isdecimal() and 0 < int(port) < 65_536):
        raise ValueError("after the host's colon is no port; expected a number from 1 to 65535")


def _check_database_url(url: str | None) -> None:
    if url and not DATABASE_URL.match(url):
        raise ValueError("is no SQLAlchemy URL; expected such as postgresql://user@host/database")
    if url and ":///" not in url:
        _check_port(url)


class TitledEnum(StrEnum):
    """An enum whose label in a form is words rather than the name of its class."""

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return {**handler(schema), "title": re.sub("(?<=[a-z])(?=[A-Z])", " ", cls.__name__).capitalize()}


class SourceKind(TitledEnum):
    """Which of the source's fields count: an enum, because a discriminated union keeps stale keys in the UI's form."""

    synthetic = "synthetic"
    files = "files"
    sql = "sql"


class FileLayout(TitledEnum):
    """How a file spells a panel."""

    auto = "auto"
    long = "long"
    wide_columns = "wide_columns"
    wide_rows = "wide_rows"


READING = ("layout", "columns", "timezone", "dayfirst", "date_format", "decimal")
OF_FILES = ("encoding", "separator", "header_line", "footer_lines", "sheet", "files_are")
USED_SETTINGS = {
    SourceKind.synthetic: ("dataset", "num_series", "num_steps", "seed"),
    SourceKind.files: ("path", *READING, *OF_FILES),
    SourceKind.sql: ("url", "query", "password_from", *READING),
}
"""By kind of source; the others would be ignored in silence."""


class Columns(ConfigModel, title="Columns"):
    """The user's own names for the three columns of the series table; empty ones are inferred."""

    has_addresses = False
    unique_id: str | None = None
    """Column that names the series, or several with commas between them (a list, too), whose values are joined as
    store/item. Not set: inferred; "" means that no column does, and a file is one series."""
    ds: str | None = None
    """Column with the timestamp (or an integer step)."""
    y: str | None = None
    """Column with the value to forecast."""

    @field_validator("unique_id", mode="before")
    @classmethod
    def _join_names(cls, value: Any) -> Any:
        """Accept a list of columns."""
        is_list = isinstance(value, (list, tuple)) and all(isinstance(name, str) for name in value)
        return ",".join(value) if is_list else value


class Source(ConfigModel, title="Source"):
    """Where the series come from."""

    kind: SourceKind = SourceKind.files
    """files: tables. sql: a database query. synthetic: generated. Left out: sql where a query is given."""
    path: str | None = None
    """files: a path, a glob or an fsspec URL of CSV, Parquet or spreadsheet files."""
    layout: FileLayout = FileLayout.auto
    """files: long (one row an observation), wide_columns (one column a series), wide_rows (one row a series)."""
    columns: Columns = Columns()
    """The user's own column names."""
    timezone: str | None = None
    """IANA zone of local timestamps, such as Europe/Berlin; needed where clocks change."""
    dayfirst: bool | None = None
    """Whether 03/04/2024 is the third of April (true) or March the fourth (false)."""
    date_format: str | None = None
    """How timestamps are written, such as day-month-year, year-week, excel-days, step or %d.%m.%Y. Empty: inferred."""
    decimal: Literal[".", ","] | None = None
    """CSV: the decimal mark. Empty: inferred."""
    encoding: str | None = Field(None, pattern=r"^[A-Za-z0-9_-]{2,30}$")
    """CSV: the encoding, such as utf-8 or cp1252. Empty: inferred."""
    separator: str | None = Field(None, min_length=1, max_length=3)
    """CSV: the mark between two fields; \\s+ for runs of spaces. Empty: inferred."""
    header_line: int | None = Field(None, ge=0, le=10_000)
    """CSV and sheets: the line with the names of the columns, counted from 1; 0: there is none. Empty: inferred."""
    footer_lines: int | None = Field(None, ge=0, le=10_000)
    """CSV and sheets: the rows at the end that are no data, such as totals and notes. Empty: inferred."""
    sheet: str | None = Field(None, min_length=1, max_length=200)
    """Spreadsheets: a sheet, a range of cells, or both: Load, B4:D900 or Load!B4:D900. Empty: the only filled sheet."""
    files_are: Literal["series", "parts"] | None = None
    """Files without a column of names: series, one in each file, or parts of one that continue it. Empty: inferred."""
    url: str | None = None
    """sql: an SQLAlchemy URL without its password."""
    query: str | None = None
    """sql: the query that returns the rows."""
    password_from: str | None = Field(None, pattern=PASSWORD_PLACE)
    """sql: where the password is kept: env:NAME (environment) or secret:NAME (a Prefect Secret block)."""
    dataset: Dataset = "panel"
    """synthetic: a realistic hourly panel, or the tutorial's sine wave."""
    num_series: int = Field(12, ge=1, le=1_000_000)
    """synthetic: how many series (panel)."""
    num_steps: int = Field(1440, ge=20, le=MOST)
    """synthetic: how many steps each."""
    seed: int = Field(0, ge=0, lt=2**32)
    """synthetic: random seed."""

    @model_validator(mode="before")
    @classmethod
    def _infer_kind(cls, given: Any) -> Any:
        """Take a query for SQL where no kind is given; a path is for files, as the default says."""
        if isinstance(given, dict) and "kind" not in given and not given.get("path"):
            return {**given, "kind": SourceKind.sql} if given.get("query") or given.get("url") else given
        return given

    @model_validator(mode="after")
    def _check_kind(self) -> Self:
        if not self.path and "kind" not in self.model_fields_set:
            raise ValueError(f"it has neither a path nor a query; {SOURCES}")
        if self.kind is SourceKind.files and not self.path:
            raise ValueError("source.kind is 'files', but source.path is empty; give a path, a glob or a URL")
        if self.kind is SourceKind.sql and not (self.url and self.query):
            raise ValueError("source.kind is 'sql', but source.url or source.query is empty; give both")
        foreign = {*type(self).model_fields} - {"kind", *USED_SETTINGS[self.kind]}
        given = sorted(n for n in foreign if getattr(self, n) != type(self).model_fields[n].default)
        if given:
            own = "makes its own series" if self.kind is SourceKind.synthetic else f"reads {self.kind}"
            raise ValueError(f"source.kind {self.kind} {own}: remove {', '.join(given)}, or correct source.kind")
        _check_database_url(self.url)
        _check_port(self.path if self.kind is SourceKind.files else None)
        return self


MOST_CATEGORIES = 64
"""Most categories of a covariate that is text."""


class Covariates(ConfigModel, title="Covariates"):
    """Columns, by name, that the model may use beside the target."""

    has_addresses = False
    static: tuple[str, ...] = ()
    """One value a series, such as a region; numbers or text."""
    past: tuple[str, ...] = ()
    """Known up to the cutoff only, such as a measured humidity; numbers, yes and no, or texts of few categories."""
    future: tuple[str, ...] = ()
    """Known through the horizon, such as a holiday flag or a kind of promotion; bring them as rows after the last
    observation, y empty."""

    @model_validator(mode="after")
    def _check_distinct(self) -> Self:
        names = [*self.static, *self.past, *self.future]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(
                f"covariates declared twice: {', '.join(twice)}; each belongs to one of static, past, future"
            )
        return self


class CalendarSettings(ConfigModel, title="Calendar"):
    """The calendar as covariates that need no file: the time of the day, week, month and year, and holidays."""

    has_addresses = False
    use: Literal["auto", "all", "none"] | None = None
    """auto: what the frequency can show and the history is long enough for. all: whatever the history. Empty: auto if
    a setting below is given, else none."""
    country: str | None = Field(None, pattern=r"^[A-Z]{2,5}$")
    """ISO code of the country whose holidays count, such as DE."""
    subdivision: str | None = Field(None, min_length=1, max_length=62)
    """ISO code of a part of the country with holidays of its own, such as BY."""
    country_column: str | None = None
    """Instead of country, for series of several: a static covariate that holds such codes: DE, or DE-BY."""
    days: dict[str, tuple[str, ...]] = Field({}, max_length=MOST_DAYS)
    """Special days of your own by name: dates (2024-11-29), or rules for every year: 12-24, easter-2, 4thu11 (the
    fourth Thursday of November)."""

    @model_validator(mode="after")
    def _check_given(self) -> Self:
        if self.subdivision and not self.country:
            raise ValueError("subdivision needs the country that it is a part of; give country")
        if self.country and self.country_column:
            raise ValueError("calendar has both country and country_column; give one of them")
        if self.use == "none" and self.is_given:
            raise ValueError("calendar.use is none, which leaves out the holidays and days below it; remove one")
        return self

    @property
    def is_given(self) -> bool:
        """Return whether it names any day."""
        return bool(self.country or self.country_column or self.days)

    @property
    def code(self) -> str | None:
        """Return the country with its part: DE-BY."""
        return f"{self.country}-{self.subdivision}" if self.subdivision else self.country


class Schedule(ConfigModel, title="Schedule"):
    """When the deployment retrains. Read where deployments are made; a run that is started by hand ignores it."""

    cron: str | None = None
    """A cron expression of five fields, such as 15 3 * * *."""
    interval_seconds: float | None = Field(None, ge=1, le=10 * YEAR_SECONDS)
    """Instead of cron: seconds between two starts."""
    timezone: str = "UTC"
    """IANA zone in which cron is read."""

    @model_validator(mode="after")
    def _check_one_given(self) -> Self:
        if (self.cron is None) == (self.interval_seconds is None):
            raise ValueError("schedule needs exactly one of cron and interval_seconds")
        return self


class WindowSettings(ConfigModel, title="Windows and splits"):
    """How series become windows, and which of them test the model."""

    stride: int = Field(1, ge=1, le=MOST)
    """Steps between two training windows."""
    test_steps: int | None = Field(None, ge=1, le=MOST)
    """Last steps kept for the test. Empty: max(1 horizon, min(8 horizons, a tenth of the history))."""
    validation_steps: int | None = Field(None, ge=0, le=MOST)
    """Steps before the test, for early stopping and calibration. Empty: as many as the test."""
    evaluation_stride: int | None = Field(None, ge=1, le=MOST)
    """Steps between two evaluated windows. Empty: 1, or more if that would be millions of points."""
    align: Literal["calendar", "end"] | None = None
    """calendar: one cutoff for all series. end: each series' own end. Empty: inferred."""
    pad_short: bool = True
    """Train on windows of short histories too, their contexts left-padded and masked."""
    min_context: int | None = Field(None, ge=2, le=100_000)
    """Fewest real values in the context of a training window. Empty: inferred."""
    max_missing_share: float = Field(0.5, ge=0, le=1)
    """A series with more of its values missing than this is an error."""


class ModelChoices(ConfigModel):
    """Settings of the network that are never inferred."""

    kind: Literal["mixture", "tutorial"] = "mixture"
    """mixture: an LSTM weighs simple forecasts and corrects them. tutorial: the plain one-step LSTMModel."""
    dropout: float = Field(0.1, ge=0, lt=1)
    """Share of activations left out at random in training."""
    levels: tuple[Level, ...] = Field((0.8, 0.95), max_length=20)
    """Central prediction intervals to forecast beside the median."""


class ModelSettings(ModelChoices, title="Network"):
    """The network."""

    hidden_dim: int | None = Field(None, ge=1, le=4096)
    """Width of the LSTM."""
    layer_dim: int | None = Field(None, ge=1, le=8)
    """Number of stacked LSTM layers."""
    segment: int | None = Field(None, ge=1, le=100_000)
    """Steps of the series that the LSTM reads at once; 1 is the plain LSTM."""
    normalisation: Literal["none", "mean_std", "last"] | None = None
    """Each window is scaled by its own context: mean and deviation, or last value and deviation."""
    transform: Literal["none", "log"] | None = None
    """log: the network works on logarithms of the values, which must be positive. Empty: inferred."""
    linear_skip: bool | None = None
    """Add a linear map of the context to the forecast. Empty: inferred."""


class TrainingChoices(ConfigModel):
    """Settings of the training loop that are never inferred."""

    seed: int = Field(0, ge=0, lt=2**63)
    """Of the first weights and of the order of the windows."""
    device: Literal["auto", "cpu", "cuda", "mps", "xpu"] = "auto"
    """auto: the first of cuda, mps, xpu and cpu that is there."""
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """auto: bf16 if it is faster."""
    threads: int | None = Field(None, ge=1, le=10_000)
    """CPU threads for training. Empty: measured; the tutorial's own loop takes torch's number."""
    weight_decay: float = Field(0.01, ge=0, le=100)
    """Pull of the weights towards zero (AdamW)."""
    gradient_clip: float = Field(1.0, gt=0, le=1e9)
    """Largest norm of the gradient."""
    workers: int = Field(1, ge=1, le=10_000)
    """Processes that share a training through Ray Train, each with a GPU of its own if there are GPUs."""
    memory_mib: int | None = Field(None, ge=1, le=MOST)
    """Memory for training windows; larger data are streamed from disk. Empty: half of the machine's."""
    patience: int = Field(6, ge=1, le=MOST)
    """Evaluations on validation without improvement before training stops."""
    refit: bool = True
    """After early stopping, train again through validation with the step count found."""
    warm_start: bool = True
    """Start from the champion's weights if they fit and have seen none of the data that judge this training."""
    scratch_every: int = Field(7, ge=1, le=MOST)
    """After this many warm starts, train from scratch as well, and keep the better one."""


class TrainingSettings(TrainingChoices, title="Training"):
    """The training loop."""

    max_steps: int | None = Field(None, ge=1, le=MOST)
    """Optimiser steps at most."""
    batch_size: int | None = Field(None, ge=1, le=MOST)
    """Windows a step."""
    learning_rate: float | None = Field(None, gt=0, le=100)
    """Highest rate of the one-cycle schedule."""
    timeout_seconds: float = Field(6 * 3600, gt=0, le=YEAR_SECONDS)
    """A training that takes longer fails."""


class Promotion(ConfigModel, title="Promotion"):
    """When a newly trained model, the challenger, takes the place of the champion, which makes the forecasts."""

    first_model: Literal["warn", "floor"] = "warn"
    """The first model: warn promotes it with a warning if a baseline beats it, floor does not promote it."""
    margin: float = Field(0.01, gt=0, lt=1)
    """Least improvement of the scaled error over the champion: 0.01 is one percent. A tie is never promoted."""
    significance: float = Field(0.1, gt=0, lt=1)
    """Largest p-value of the improvement, if the test has at least 8 cutoffs that do not overlap."""
    series_cap: float = Field(1.5, gt=1, le=1e9)
    """No series may have more than this many times the error of both the champion and the best baseline."""
    coverage_tolerance: float = Field(0.15, gt=0, lt=1)
    """An interval may cover this much more or less than its level, or must be nearer to it than the champion's."""


class Forecasting(ConfigModel, title="Forecasts"):
    """When the champion forecasts, and where to beside the ledger. Read only by the forecast flow."""

    schedule: Schedule | None = None
    """When the deployment forecasts."""
    url: str | None = None
    """An SQLAlchemy URL without its password: forecasts are written to this database too."""
    integers: bool = False
    """Issue whole numbers: the median rounded, bounds to the next outside. The mean stays, or totals would be wrong."""
    table: str = Field("forecasts", pattern=r"^[A-Za-z_][A-Za-z0-9_.]*$")
    """The table there; created if it does not exist."""
    password_from: str | None = Field(None, pattern=PASSWORD_PLACE)
    """Where the password is kept: env:NAME (environment) or secret:NAME (a Prefect Secret block)."""

    @model_validator(mode="after")
    def _check_url(self) -> Self:
        _check_database_url(self.url)
        return self


class Monitoring(ConfigModel, title="Monitoring"):
    """When past forecasts are compared with the data, and the reaction to drift. Read only by the monitor flow."""

    schedule: Schedule | None = None
    """When the deployment compares its forecasts with the newest data."""
    retrain: bool = True
    """Start the retraining when the errors leave their envelope; off: only tell."""
    periods_per_false_alarm: int = Field(200, ge=20, le=10_000)
    """While nothing changes, at most one alarm in this many forecast periods (a horizon, or a season within it)."""


class Scaling(ConfigModel, title="Scaling"):
    """How a run uses one machine or several; it changes no result beyond rounding."""

    shards: int | None = Field(None, ge=1, le=10_000)
    """Parts, of whole series, that stages work on side by side. Empty: one."""
    shard_rows: int | None = Field(None, ge=1, le=10**12)
    """Instead of shards: about this many rows in each."""
    runner: Literal["threads", "ray"] = "threads"
    """The workers of the shards: threads of this process, or a Ray cluster (needs the extra ray)."""
    ray_address: str = Field("local", pattern=RAY_ADDRESS)
    """ray: local starts a cluster on this machine; auto, host:port or ray://host:10001 joins one that runs."""

    @model_validator(mode="after")
    def _check_one_given(self) -> Self:
        if self.shards is not None and self.shard_rows is not None:
            raise ValueError("scaling has both shards and shard_rows; give one of them")
        return self

    @property
    def divides(self) -> bool:
        """Return whether there may be more than one shard."""
        return self.shard_rows is not None or (self.shards or 1) > 1


class Advanced(ConfigModel, title="Advanced"):
    """Settings that few need to change."""

    window: WindowSettings = WindowSettings()
    model: ModelSettings = ModelSettings()
    training: TrainingSettings = TrainingSettings()


MIN_CONTEXT = 2
"""Fewest real values in a context: one gives a level, two a scale."""

MissingPolicy = Literal["error", "interpolate", "seasonal", "drop_series", "zero"]
Aggregate = Literal["sum", "mean", "last", "first", "max", "min", "count"]


class PipelineConfig(ConfigModel, title="Forecasting problem"):
    """One forecasting problem."""

    name: ProblemName = "panel"
    """Names the problem, its store and its deployment: small letters, digits, - and _."""
    source: Source
    """Where the series come from."""
    horizon: int | None = Field(None, ge=1, le=10_000)
    """Steps to forecast. Empty: inferred from the frequency."""
    frequency: str | None = Field(None, min_length=1, max_length=MOST_ALIAS)
    """Pandas offset alias such as h, D, MS, 15min, with the open hours and closed dates of a business: h open mon-fri
    09:00-17:00 closed 12-25. Empty: inferred."""
    season: int | None = Field(None, ge=1, le=MOST)
    """Steps in one season, such as 24 for hourly data. Empty: inferred."""
    context: int | None = Field(None, ge=1, le=100_000)
    """Past steps that the model reads. Empty: inferred."""
    covariates: Covariates = Covariates()
    """Columns that may help beside the target."""
    calendar: CalendarSettings = Field(CalendarSettings(), exclude_if=lambda value: value == CalendarSettings())
    """Time of the day, week, month and year, and holidays, as covariates that need no file."""
    missing: MissingPolicy = "interpolate"
    """The policy for missing values: error, interpolate, seasonal (the value one season before), drop_series, or zero
    (nothing was sold or counted in a step without a value, from the series' first to the last of all series)."""
    aggregate: Aggregate | None = None
    """One value of the rows of one series and step, such as sum for transactions. Empty: two rows are an error."""
    schedule: Schedule | None = None
    """When the deployment retrains; a run that is started by hand ignores it."""
    forecasting: Forecasting = Forecasting()
    """When the champion forecasts, and where to."""
    monitoring: Monitoring = Monitoring()
    """When past forecasts are compared with the newest data."""
    promotion: Promotion = Promotion()
    """When a new model takes the place of the old one."""
    scaling: Scaling = Scaling()
    """How a run uses one machine or several."""
    notify: str | None = Field(None, pattern=BLOCK_NAME)
    """A Prefect notification block, as type/name, that receives failures, rejections, rollbacks and drift."""
    advanced: Advanced = Advanced()
    """Settings that few need to change."""

    def select_modelling_settings(self) -> PipelineConfig:
        """Return this config with defaults for all that does not shape the model: name, schedules, monitoring."""
        default = PipelineConfig(name="any", source=self.source)
        beside = ("name", "schedule", "forecasting", "monitoring", "promotion", "scaling", "notify")
        means = {"workers": 1, "memory_mib": None}
        training = self.advanced.training.model_copy(update=means)
        advanced = self.advanced.model_copy(update={"training": training})
        return self.model_copy(update={"advanced": advanced, **{name: getattr(default, name) for name in beside}})

    def select_data_settings(self) -> PipelineConfig:
        """Return this config with defaults for all that ingest does not use, to recognise a change of its data."""
        window = WindowSettings(max_missing_share=self.advanced.window.max_missing_share)
        return self.select_modelling_settings().model_copy(
            update={"context": None, "calendar": CalendarSettings(), "advanced": Advanced(window=window)}
        )

    @model_validator(mode="after")
    def _check_country_column(self) -> Self:
        name = self.calendar.country_column
        if name and name not in self.covariates.static:
            raise ValueError(f"calendar.country_column {name!r} is no static covariate; add it to covariates.static")
        return self

    @field_validator("frequency", mode="before")
    @classmethod
    def _convert_to_text(cls, value: Any) -> Any:
        return str(value) if isinstance(value, int) else value


class WindowSpec(ConfigModel):
    """Resolved: how windows are cut. Steps are steps of `frequency`."""

    context: int
    horizon: int
    season: int
    frequency: str
    stride: int
    evaluation_stride: int
    test_steps: int
    validation_steps: int
    align: Literal["calendar", "end"]
    pad_short: bool
    min_context: int = 2
    """Fewest real values in the context of a training window."""
    train_steps: int | None = None
    """Train only on this many steps before the training cutoff; None: on all."""
    calendar: CalendarFeatures | None = Field(None, exclude_if=lambda value: value is None)
    """Future covariates that are computed."""


class ModelSpec(ModelChoices):
    """Resolved: the network."""

    hidden_dim: int = Field(ge=1, le=4096)
    layer_dim: int = Field(ge=1, le=8)
    segment: int = Field(ge=1)
    normalisation: Literal["none", "mean_std", "last"]
    transform: Literal["none", "log"] = "none"
    """Of the values, before all else."""
    linear_skip: bool = False

    @property
    def quantiles(self) -> tuple[float, ...]:
        """Return the quantiles, ascending around the median: 0.8 and 0.95 give 0.025, 0.1, 0.5, 0.9, 0.975."""
        tails = sorted({round(0.5 - level / 2, 6) for level in self.levels})
        return (*tails, 0.5, *(round(1 - tail, 6) for tail in reversed(tails)))


class TrainingSpec(TrainingChoices):
    """Resolved: the training loop."""

    max_steps: int
    batch_size: int
    learning_rate: float


class Plan(ConfigModel):
    """Every choice made: the specs that the stages take, each part the cache key of its own stage."""

    window: WindowSpec
    model: ModelSpec
    training: TrainingSpec
