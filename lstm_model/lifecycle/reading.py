"""Tell in a run's log how its source was read."""

from __future__ import annotations

import logging

from lstm_model.contracts.artifact import Artifact
from lstm_model.contracts.clock import show_moment
from lstm_model.contracts.findings import number
from lstm_model.contracts.settings import SourceKind
from lstm_model.contracts.stage_meta import SeriesMeta
from lstm_model.storage.store import Store

logger = logging.getLogger(__name__)


def tell_reading(series: Artifact, store: Store) -> None:
    """Log in short how the source was read; `python -m flows.check` tells all."""
    meta = store.read_meta(series, SeriesMeta)
    facts, names = meta.profile, meta.source.columns
    columns = {"series": names.unique_id, "time": names.ds, "target": names.y}
    roles = [f"{role} {name!r}" for role, name in columns.items() if name]
    logger.info(
        "read: %s with %s from %s to %s, frequency %s",
        number(facts.num_series, "series", "series"),
        number(facts.num_observed, "value"),
        show_moment(facts.start, meta.clock),
        show_moment(facts.end, meta.clock),
        facts.frequency,
    )
    if meta.source.kind is not SourceKind.synthetic:
        logger.info("layout %s; %s", meta.source.layout, ", ".join(roles) or "no column has a name")
