"""Examine raw rows, and write them as a series table, with the facts about it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from lstm_model.contracts.settings import PipelineConfig
from lstm_model.contracts.stage_meta import SeriesMeta
from lstm_model.quality.doctor import examine
from lstm_model.series.profiling import SeriesFacts, measure_facts, merge_profiles
from lstm_model.series.series_table import write_table
from lstm_model.sources.raw_series import RawSeries


@dataclass(frozen=True)
class Ingested:
    """What is known of a series table that was written."""

    meta: SeriesMeta
    facts: SeriesFacts
    """What `sharding.merge_series_meta` needs of each shard."""
    num_rows: int


def write_series(raw: RawSeries, config: PipelineConfig, table: Path) -> Ingested:
    """Examine raw rows, repair what can be repaired, and write the series table.

    Raises:
        DataError: the doctor refuses the data; nothing is written.
    """
    examined = examine(raw, config)
    write_table(pa.Table.from_pandas(examined.table, preserve_index=False), table)
    facts = measure_facts(table)
    meta = SeriesMeta(
        profile=merge_profiles([facts], [table], examined.frequency),
        findings=examined.findings,
        reasons=raw.reasons | examined.reasons,
        source=raw.source,
        clock=examined.clock,
        repaired=int((~examined.table["observed"] & examined.table["y"].notna()).sum()),
    )
    return Ingested(meta, facts, len(examined.table))
