"""Record what became of the stages of a run, and sum it up for a person."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from pydantic import BaseModel

from lstm_model.contracts.artifact import Artifact

CacheOutcome = Literal["cached", "computed", "repaired"]


class StageRecord(BaseModel):
    """What became of one stage in one run."""

    stage: str
    outcome: CacheOutcome
    seconds: float
    artifact: Artifact


class RecordSummary(BaseModel):
    """The records of one stage over all shards, or of one call, for a person."""

    name: str
    """Such as ingest, or ingest ×8."""
    outcome: str
    seconds: float
    """Of the longest: they ran side by side."""
    artifact: str
    """Digits of its name; of several, of the first."""


def summarise_records(records: Sequence[StageRecord]) -> list[RecordSummary]:
    """Return one summary a stage and outcome, in the order of the first."""
    groups: dict[tuple[str, str], list[StageRecord]] = {}
    for record in records:
        groups.setdefault((record.stage, record.outcome), []).append(record)
    return [
        RecordSummary(
            name=stage if len(group) == 1 else f"{stage} ×{len(group)}",
            outcome=outcome,
            seconds=max(record.seconds for record in group),
            artifact=group[0].artifact.sha256[:12] + (" …" if len(group) > 1 else ""),
        )
        for (stage, outcome), group in groups.items()
    ]
