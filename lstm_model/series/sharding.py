"""Divide a panel into shards, and merge what is known of each: findings, categories, metadata."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from lstm_model.contracts.findings import DataError, Finding, number
from lstm_model.contracts.settings import MOST_CATEGORIES, Covariates
from lstm_model.contracts.shard import IdRange
from lstm_model.contracts.stage_meta import SeriesMeta
from lstm_model.series.one_hot import find_categories
from lstm_model.series.profiling import SeriesFacts, merge_profiles
from lstm_model.series.series_table import encode_static


def count_shards(rows: int, series: int, *, shards: int | None, shard_rows: int | None) -> int:
    """Return the number of shards of a panel; the arguments are those of `plan_shards`."""
    return min(shards or math.ceil(rows / (shard_rows or rows)), series)


def plan_shards(rows: Mapping[str, int], *, shards: int | None, shard_rows: int | None) -> list[IdRange]:
    """Divide the names into ranges with about equally many rows; never more ranges than series.

    Args:
        rows: of each series.
        shards: how many ranges.
        shard_rows: instead, about how many rows each has.
    """
    ids = sorted(rows)
    ends = np.cumsum([rows[unique_id] for unique_id in ids])
    total = int(ends[-1])
    wanted = count_shards(total, len(ids), shards=shards, shard_rows=shard_rows)
    # Cut where the running total of rows passes each equal share.
    firsts = np.searchsorted(ends, total * np.arange(1, wanted) / wanted) + 1
    rank = np.arange(1, wanted)
    firsts = rank + np.maximum.accumulate(firsts - rank) if wanted > 1 else rank  # no range without a series
    firsts = np.minimum(firsts, len(ids) - wanted + rank)
    return [IdRange(first=a, before=b) for a, b in pairwise([None, *(ids[i] for i in firsts), None])]


def merge_findings(shards: Sequence[Sequence[Finding]]) -> list[Finding]:
    """Merge findings of one kind: the message of the shard with most, and the count of the others."""
    kinds: dict[str, list[Finding]] = {}
    for finding in (finding for one in shards for finding in one):
        kinds.setdefault(finding.code, []).append(finding)
    return [_merge_alike(alike) for alike in kinds.values()]


def _merge_alike(alike: list[Finding]) -> Finding:
    if len(alike) == 1:
        return alike[0]
    most = max(alike, key=lambda finding: finding.count)
    total = sum(finding.count for finding in alike)
    others = f"{number(total - most.count, 'more', 'more')} in {number(len(alike) - 1, 'other shard')} of the series"
    return most.model_copy(update={"count": total, "message": f"{most.message}; {others}"})


def find_all_categories(tables: Sequence[Path], covariates: Covariates) -> dict[str, list[str]]:
    """Return the categories that each covariate has in all shards together; the errors are of `merge_categories`."""
    static = [encode_static(table, covariates.static).categories for table in tables]
    others = [find_categories(table, [*covariates.past, *covariates.future]) for table in tables]
    return merge_categories(static, most=MOST_CATEGORIES) | merge_categories(others, most=MOST_CATEGORIES, mixed=True)


def merge_categories(
    shards: Sequence[Mapping[str, list[str]]], *, most: int, mixed: bool = False
) -> dict[str, list[str]]:
    """Merge the categories of every text covariate over all shards.

    Args:
        shards: the categories of each covariate that is text in a shard.
        most: how many categories a covariate may have.
        mixed: a covariate may be text in one shard and numbers in another, as yes and no are.

    Raises:
        DataError: a covariate is text in one shard and numbers in another, or has more than `most` categories.
    """
    names = sorted({name for one in shards for name in one})
    merged = {name: sorted({text for one in shards for text in one.get(name, ())}) for name in names}
    for name, found in merged.items():
        if not mixed and not all(name in one for one in shards):
            raise DataError(
                f"static covariate {name!r} is text in one shard of the series and numbers in another (texts such as "
                f"{found[0]!r}); mend the source so that it is one of them throughout"
            )
        if len(found) > most:
            raise DataError(
                f"{'' if mixed else 'static '}covariate {name!r} has {len(found)} categories; at most {most} are "
                "supported. Group the rare ones, or leave it out (it may be an identifier)"
            )
    return merged


def check_alike(what: str, values: Sequence[Any], fix: str) -> None:
    """Check that all shards read the source in one way.

    Raises:
        DataError: two shards differ; the message has both values, and the setting that decides.
    """
    different = next((value for value in values if value != values[0]), values[0])
    if different != values[0]:
        raise DataError(f"one shard of the series has {what} {values[0]!r}, another {different!r}; {fix}")


def merge_series_meta(
    shards: Sequence[SeriesMeta],
    *,
    facts: Sequence[SeriesFacts],
    tables: Sequence[Path],
    findings: Sequence[Sequence[Finding]],
) -> SeriesMeta:
    """Return the metadata that one table with the rows of all shards would have.

    Args:
        shards: the metadata of each shard that has rows.
        facts: of the same shards.
        tables: of the same shards.
        findings: of all shards; a shard whose series are all left out has findings too.

    Raises:
        DataError: the shards were not read in one way.
    """
    frequencies = [meta.profile.frequency for meta in shards]
    check_alike("frequency", frequencies, "set frequency, or mend the source")
    sources = [meta.source.model_dump(mode="json") for meta in shards]
    check_alike("this reading of the source", sources, "set what differs in source")
    return SeriesMeta(
        profile=merge_profiles(facts, tables, frequencies[0]),
        findings=merge_findings(findings),
        reasons=shards[0].reasons,
        source=shards[0].source,
        clock=shards[0].clock,
        repaired=sum(meta.repaired for meta in shards),
    )
