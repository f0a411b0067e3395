"""Describe a config with nothing left open: the choices of `infer_plan`, and their reasons."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from lstm_model.contracts.settings import PipelineConfig, Plan


class Resolved(BaseModel):
    """A config with nothing left open, and why."""

    model_config = ConfigDict(frozen=True)

    config: PipelineConfig
    plan: Plan
    reasons: list[tuple[str, str, str]]
    warnings: list[str] = []
    """What will fail after this run with the data as they are."""
