"""`pipelines/*.yaml`, the only source of deployments and their schedules: one forecasting problem a file."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import yaml
from prefect.client.schemas.schedules import CronSchedule, IntervalSchedule
from pydantic import ValidationError

from flows.cli import explain
from lstm_model.config import PipelineConfig, load_config

PIPELINES = Path(__file__).parent / "pipelines"
TAG = "evergreen"
SCHEDULE_SLUG = "pipeline"
"""Marks the schedule that comes from a pipeline's file, so that a redeploy finds it again and keeps its pause."""
CONCURRENCY = {"limit": 1, "collision_strategy": "CANCEL_NEW"}
"""Never two trainings of one problem at once; a run that would be the second is cancelled, not queued behind it."""
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
    """The comment at the top of the file; Prefect shows it above the form."""

    @property
    def name(self) -> str:
        """The name of the pipeline, of its deployment and of its folder in the store."""
        return self.config.name

    @property
    def tags(self) -> list[str]:
        return [TAG, self.config.source.kind.value]

    @property
    def schedule(self) -> CronSchedule | IntervalSchedule | None:
        """When Prefect starts it; None: only by hand."""
        wanted = self.config.schedule
        if wanted is None:
            return None
        if wanted.cron is not None:
            return CronSchedule(cron=wanted.cron, timezone=wanted.timezone)
        assert wanted.interval_seconds is not None
        return IntervalSchedule(
            interval=timedelta(seconds=wanted.interval_seconds), anchor_date=ANCHOR, timezone=wanted.timezone
        )

    @property
    def when(self) -> str:
        """The schedule in a few words."""
        wanted = self.config.schedule
        if wanted is None:
            return "by hand"
        return f"{wanted.cron} {wanted.timezone}" if wanted.cron else f"every {wanted.interval_seconds:g} s"

    def parameters(self) -> dict[str, Any]:
        """The flow's `config` as plain values. Its schedule is the deployment's own business, so it is left out."""
        values = self.config.model_dump(mode="json", exclude_defaults=True, exclude={"schedule"})
        return {"name": self.name, **values}


def read_catalog(folder: Path = PIPELINES) -> list[Pipeline]:
    """All pipelines of a folder, by name.

    Raises:
        CatalogError: no files, a file that is not valid, or a name that two files share.
    """
    files = sorted([*folder.glob("*.yaml"), *folder.glob("*.yml")])
    if not files:
        raise CatalogError(f"no pipelines: {folder} has no *.yaml file; write one, such as name: sales, source: ...")
    pipelines = [read_pipeline(file) for file in files]
    _check_names(pipelines)
    return sorted(pipelines, key=lambda pipeline: pipeline.name)


def read_pipeline(file: Path) -> Pipeline:
    """One file, its relative source path made absolute.

    Raises:
        CatalogError: naming the file and each field that is wrong.
    """
    try:
        pipeline = Pipeline(file=file, config=load_config(file), description=_leading_comment(file))
        _ = pipeline.schedule  # an unknown time zone or a wrong cron expression shows only here
    except ValidationError as error:
        raise CatalogError(f"{file}: {explain(error)}") from error
    except yaml.YAMLError as error:
        raise CatalogError(f"{file} is not YAML: {error}") from error
    except ValueError as error:
        raise CatalogError(str(error) if str(file) in str(error) else f"{file}: {error}") from error
    return pipeline


def _check_names(pipelines: Iterable[Pipeline]) -> None:
    seen: dict[str, Path] = {}
    for pipeline in pipelines:
        if pipeline.name in seen:
            raise CatalogError(
                f"{seen[pipeline.name]} and {pipeline.file} both have the name {pipeline.name!r}; they would share one "
                "deployment and one store. Rename one of them"
            )
        seen[pipeline.name] = pipeline.file


def _leading_comment(file: Path) -> str:
    lines: list[str] = []
    for line in file.read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            break
        lines.append(line.lstrip("#").strip())
    return " ".join(lines)
