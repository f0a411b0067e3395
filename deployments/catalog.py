"""Read `pipelines/*.yaml`, the only source of deployments and their schedules: one forecasting problem a file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from prefect.client.schemas.schedules import CronSchedule, IntervalSchedule

from flows.cli import explain
from lstm_model.contracts.redaction import redact
from lstm_model.contracts.settings import PipelineConfig, Schedule
from lstm_model.contracts.settings_file import CHECKSUM, load_config

PIPELINES = Path(__file__).parent / "pipelines"
TAG = "evergreen"
SCHEDULE_SLUG = "pipeline"
"""Marks the schedule that comes from a pipeline's file, so that a redeploy finds it again and keeps its pause."""
CONCURRENCY = {"limit": 1, "collision_strategy": "CANCEL_NEW"}
"""Never two runs of a deployment at once; one that would be the second is cancelled, not queued behind the first."""
ANCHOR = datetime(2000, 1, 1, tzinfo=UTC)
"""Intervals count from here: from the time of each start, a machine that restarts daily would never reach a week."""


class CatalogError(ValueError):
    """A pipeline file that cannot be deployed; the message names the file and the field."""


@dataclass(frozen=True)
class Pipeline:
    """One file of the catalogue."""

    file: Path
    config: PipelineConfig
    description: str
    """The comment at the top of the file."""

    @property
    def name(self) -> str:
        """Return the name of the pipeline, of its deployments and of its folder in the store."""
        return self.config.name

    @property
    def jobs(self) -> list[Job]:
        """Return its deployments, one a flow."""
        return [Job(deployed, self) for deployed in DEPLOYED_FLOWS]


@dataclass(frozen=True)
class DeployedFlow:
    """A flow that becomes a deployment of each pipeline."""

    flow: str
    """The flow's name, and that of its function and module: flows/retrain.py:retrain."""
    about: str
    """Comes before the pipeline's own description, which Prefect shows above the form."""
    schedule: Callable[[PipelineConfig], Schedule | None] = lambda config: None
    parameters: Callable[[PipelineConfig], dict[str, Any]] = lambda config: {"config": drop_schedules(config)}


@dataclass(frozen=True)
class Job:
    """One deployment: a flow for a pipeline."""

    deployed: DeployedFlow
    pipeline: Pipeline

    @property
    def flow(self) -> str:
        return self.deployed.flow

    @property
    def name(self) -> str:
        return self.pipeline.name

    @property
    def full_name(self) -> str:
        """Return the name on the Prefect command line, such as retrain/panel."""
        return f"{self.flow}/{self.name}"

    @property
    def description(self) -> str:
        return f"{self.deployed.about} {self.pipeline.description}".strip()

    @property
    def tags(self) -> list[str]:
        """Return the tags, with the pipeline's name: the UI's filter then shows all deployments of one problem."""
        return [TAG, self.pipeline.config.source.kind.value, self.name]

    @property
    def parameters(self) -> dict[str, Any]:
        """Return the flow's parameters as plain values, except the store; schedules are left to the deployment."""
        return self.deployed.parameters(self.pipeline.config)

    @property
    def schedule_settings(self) -> Schedule | None:
        """Return the schedule of the pipeline's file; None if the flow is only started by hand."""
        return self.deployed.schedule(self.pipeline.config)

    @property
    def schedule(self) -> CronSchedule | IntervalSchedule | None:
        """Return the schedule as Prefect's own type."""
        wanted = self.schedule_settings
        if wanted is None:
            return None
        if wanted.cron is not None:
            return CronSchedule(cron=wanted.cron, timezone=wanted.timezone)
        assert wanted.interval_seconds is not None
        return IntervalSchedule(
            interval=timedelta(seconds=wanted.interval_seconds), anchor_date=ANCHOR, timezone=wanted.timezone
        )

    @property
    def schedule_text(self) -> str:
        """Return the schedule in a few words."""
        wanted = self.schedule_settings
        if wanted is None:
            return "by hand"
        return f"{wanted.cron} {wanted.timezone}" if wanted.cron else f"every {wanted.interval_seconds:g} s"


def drop_schedules(config: PipelineConfig) -> dict[str, Any]:
    """Return the config as plain values that differ from their defaults, without schedules."""
    forecasting = config.forecasting.model_copy(update={"schedule": None})
    monitoring = config.monitoring.model_copy(update={"schedule": None})
    bare = config.model_copy(update={"schedule": None, "forecasting": forecasting, "monitoring": monitoring})
    return {"name": config.name, **bare.model_dump(mode="json", exclude_defaults=True)}


DEPLOYED_FLOWS = (
    DeployedFlow("retrain", "", schedule=lambda config: config.schedule),
    DeployedFlow("forecast", "Forecasts of the champion.", schedule=lambda config: config.forecasting.schedule),
    DeployedFlow(
        "monitor", "Past forecasts against what happened.", schedule=lambda config: config.monitoring.schedule
    ),
    DeployedFlow("backtest", "How it would have done: the past, forecast from several cutoffs."),
    DeployedFlow(
        "promote",
        "Approve a challenger, or roll back to the previous champion.",
        parameters=lambda config: {"name": config.name, "notify": config.notify},
    ),
)
"""All flows that a pipeline is deployed with."""


def read_catalog(folder: Path = PIPELINES) -> list[Pipeline]:
    """Read all pipelines of a folder, by name.

    Raises:
        CatalogError: no files, or files that are not valid or share a name; the message names all of them.
    """
    pipelines, errors = read_valid_pipelines(folder)
    if errors:
        raise CatalogError("\n".join(map(str, errors)))
    return pipelines


def read_valid_pipelines(folder: Path = PIPELINES) -> tuple[list[Pipeline], list[CatalogError]]:
    """Read the pipelines of a folder that can be deployed, by name, and the reasons why the others cannot.

    Raises:
        CatalogError: there are no files, or not one can be deployed.
    """
    files = sorted([*folder.glob("*.yaml"), *folder.glob("*.yml")])
    if not files:
        raise CatalogError(f"no pipelines: {folder} has no *.yaml file; write one, such as name: sales, source: ...")
    pipelines: list[Pipeline] = []
    errors: list[CatalogError] = []
    for file in files:
        try:
            pipelines.append(read_pipeline(file))
        except CatalogError as error:
            errors.append(error)
    unique, shared = _split_by_name(pipelines)
    errors += shared
    if not unique:
        raise CatalogError("\n".join(map(str, errors)))
    return sorted(unique, key=lambda pipeline: pipeline.name), errors


def read_pipeline(file: Path) -> Pipeline:
    """Read one file, its relative source path made absolute.

    Raises:
        CatalogError: naming the file and each field that is wrong.
    """
    try:
        pipeline = Pipeline(file=file, config=load_config(file), description=_read_leading_comment(file))
    except OSError as error:
        raise CatalogError(f"{file}: it cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise CatalogError(str(error) if str(file) in str(error) else f"{file}: {error}") from error
    _check_schedules(pipeline)
    return pipeline


def _check_schedules(pipeline: Pipeline) -> None:
    """Check time zones and cron expressions, which otherwise fail only when Prefect reads them."""
    for job in pipeline.jobs:
        try:
            _ = job.schedule
        except ValueError as error:
            raise CatalogError(f"{pipeline.file}: the schedule of {job.flow}: {explain(error)}") from error


def _split_by_name(pipelines: Sequence[Pipeline]) -> tuple[list[Pipeline], list[CatalogError]]:
    """Return the pipelines whose name no other has, and an error for each name that several have: none is right."""
    files: dict[str, list[Path]] = {}
    for pipeline in pipelines:
        files.setdefault(pipeline.name, []).append(pipeline.file)
    errors = [
        CatalogError(
            f"{' and '.join(map(str, same))} have the name {name!r}; they would share their deployments and one "
            "store. Rename all but one of them"
        )
        for name, same in files.items()
        if len(same) > 1
    ]
    return [pipeline for pipeline in pipelines if len(files[pipeline.name]) == 1], errors


def _read_leading_comment(file: Path) -> str:
    lines: list[str] = []
    for line in file.read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            break
        if line.startswith(CHECKSUM):
            continue
        lines.append(line.lstrip("#").strip())
    return redact(" ".join(lines))
