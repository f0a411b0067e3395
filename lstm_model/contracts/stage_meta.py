"""Describe the small facts that a stage leaves in the manifest of its artifact, for the stages that read it."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, JsonValue

from lstm_model.contracts.artifact import Artifact
from lstm_model.contracts.clock import Clock
from lstm_model.contracts.findings import Finding
from lstm_model.contracts.profile import Profile
from lstm_model.contracts.settings import PipelineConfig, Source
from lstm_model.contracts.shard import IdRange


class StageMeta(BaseModel):
    """Base of the facts about an artifact."""

    model_config = ConfigDict(frozen=True)

    def to_json(self) -> dict[str, JsonValue]:
        """Return the facts as the manifest holds them."""
        return self.model_dump(mode="json")


class ExaminedMeta(StageMeta):
    """What the data doctor found; all that is known of a shard whose series are all left out."""

    findings: list[Finding]


class SeriesMeta(ExaminedMeta):
    """The facts about a series table."""

    profile: Profile
    reasons: dict[str, str]
    """How the roles of the columns and the time axis were inferred."""
    source: Source
    """The source with what was inferred filled in: layout and columns."""
    repaired: int
    """Values that were filled in."""
    clock: Clock | None = None
    """The source's own, if the series are in UTC instead."""


class PanelMeta(SeriesMeta):
    """The facts about a series table in shards."""

    categories: dict[str, list[str]]
    """Of each covariate that is text, those of all series."""
    shards: list[Artifact]


class GatheredMeta(StageMeta):
    """The shards that a windows dataset was gathered from."""

    shards: list[Artifact]


class SurveyMeta(StageMeta):
    """How a source divides into shards."""

    request: PipelineConfig
    """What ingest is asked for."""
    ranges: list[IdRange]
    """The series of each shard."""


class ModelMeta(StageMeta):
    """How a training went."""

    best_step: int
    notes: list[str]
    device: str
    precision: str


class PlotsMeta(StageMeta):
    """The plots of a training by name, in the order of the report."""

    order: list[str]


class ForecastsMeta(StageMeta):
    """Which series were not forecast, and what a reader must know of the others."""

    left_out: dict[str, list[str]]
    """By the reason."""
    remarks: list[str] = []


class BacktestMeta(StageMeta):
    """The verdict of a backtest, in words."""

    verdict: str
