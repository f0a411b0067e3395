"""Describe a windows dataset: its geometry, cutoffs and covariates, as `windows.json` beside its rows holds them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from lstm_model.contracts.calendar_features import CalendarFeatures

Split = Literal["train", "validation", "test"]
SPLITS: tuple[Split, ...] = ("train", "validation", "test")

WINDOWS_META = "windows.json"
"""The file beside the rows that holds a `WindowsMeta`."""

CovariateKind = Literal["past", "future", "static"]
Scaler = dict[str, list[list[float]]]
"""Mean and deviation of each covariate, by `CovariateKind`."""


class EncodedCovariates(BaseModel):
    """The covariates of a dataset or a model, as the columns of numbers that they became."""

    model_config = ConfigDict(frozen=True)

    past: list[str]
    future: list[str]
    static_columns: list[str]
    static_categories: dict[str, list[str]]
    """The categories of each static covariate that is text; each became a column `name=category`."""
    categories: dict[str, list[str]] = {}
    """Likewise of each past and future one: those that the training steps have."""
    calendar: CalendarFeatures | None = Field(None, exclude_if=lambda value: value is None)
    """What computes the last of the future ones."""


class WindowsMeta(BaseModel):
    """All that a reader of a windows dataset needs beside its rows."""

    model_config = ConfigDict(frozen=True)

    context: int
    horizon: int
    frequency: str
    season: int
    align: Literal["calendar", "end"]
    stride: dict[Split, int]
    lead: dict[Split, int]
    """Steps before the first target: in an evaluation, enough for the baselines too."""
    min_context: dict[Split, int]
    """Fewest real values in the context of a window."""
    windows: dict[Split, int]
    """How many there are, before those without any real target are left out."""
    cutoffs: dict[Split, str]
    """The last `ds` of each split; where each series is cut at its own end, that of the latest series."""
    past: list[str]
    future: list[str]
    categories: dict[str, list[str]] = {}
    """Of each past and future covariate that is text, see `EncodedCovariates`."""
    calendar: CalendarFeatures | None = Field(None, exclude_if=lambda value: value is None)
    static_columns: list[str]
    static_categories: dict[str, list[str]]
    static: dict[str, list[float]]
    """The values of `static_columns`, by series."""
    moments: dict[CovariateKind, list[list[float]]]
    """Count, total and total of squares of each covariate over the training steps; those of several shards add up."""
    scaler: Scaler
    """What follows from the moments."""

    @property
    def covariates(self) -> EncodedCovariates:
        """Return the covariates as the model that is trained on these windows will know them."""
        return EncodedCovariates(
            past=self.past,
            future=self.future,
            static_columns=self.static_columns,
            static_categories=self.static_categories,
            categories=self.categories,
            calendar=self.calendar,
        )


def read_windows_meta(folder: Path) -> WindowsMeta:
    """Read the `windows.json` of one dataset."""
    return WindowsMeta.model_validate(json.loads((folder / WINDOWS_META).read_text()))


def read_common_meta(folders: Sequence[Path]) -> WindowsMeta:
    """Read the `windows.json` of datasets that have one geometry and differ in their series only."""
    each = [read_windows_meta(folder) for folder in folders]
    static = {name: row for meta in each for name, row in meta.static.items()}
    return keep_learned(each[0].model_copy(update={"static": static, "moments": add_moments(each)}))


def add_moments(each: Sequence[WindowsMeta]) -> dict[CovariateKind, list[list[float]]]:
    """Return the moments of all shards of a dataset together."""

    def add(states: Sequence[list[float]]) -> list[float]:
        return [sum(parts) for parts in zip(*states, strict=True)]

    return {k: list(map(add, zip(*(meta.moments[k] for meta in each), strict=True))) for k in each[0].moments}


def keep_learned(meta: WindowsMeta) -> WindowsMeta:
    """Leave out the categories that no training step has: a network would read them with weights of pure chance."""
    if not meta.categories:
        return meta
    ours = {f"{name}={category}" for name, found in meta.categories.items() for category in found}
    changes: dict[str, list[str]] = {}
    moments, scaler = dict(meta.moments), dict(meta.scaler)
    kinds: tuple[CovariateKind, ...] = ("past", "future")
    for kind in kinds:
        columns: list[str] = getattr(meta, kind)
        kept = [i for i, column in enumerate(columns) if column not in ours or meta.moments[kind][i][1] > 0]
        changes[kind] = [columns[i] for i in kept]
        moments[kind], scaler[kind] = ([found[kind][i] for i in kept] for found in (meta.moments, meta.scaler))
    left = {*changes["past"], *changes["future"]}
    categories = {name: [c for c in found if f"{name}={c}" in left] for name, found in meta.categories.items()}
    return meta.model_copy(update={**changes, "categories": categories, "moments": moments, "scaler": scaler})


def write_windows_meta(folder: Path, meta: WindowsMeta) -> None:
    """Write the `windows.json` of a dataset."""
    (folder / WINDOWS_META).write_text(json.dumps(meta.model_dump(mode="json"), indent=1))
