"""Read back what earlier stages kept in their artifacts; apart from them, so that reading does not tie stages' code."""

from __future__ import annotations

import pandas as pd
import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict

from lstm_model.bundle import read_card
from lstm_model.config import Source
from lstm_model.decision import Decision
from lstm_model.profile import Profile
from lstm_model.scores import Scores
from lstm_model.store import Artifact, Store

TABLE = "series.parquet"
FORECASTS = "forecasts.parquet"
SCALES = "scales.parquet"
DECISION = "decision.json"
HISTORY = "history.json"
ENVELOPE = "envelope.json"


class Subject(BaseModel):
    """What plots and report are about."""

    model_config = ConfigDict(frozen=True)

    series: Artifact
    windows: Artifact
    model: Artifact
    scores: Artifact


def series_of(series: Artifact, store: Store) -> pd.DataFrame:
    """unique_id, ds, y and observed of the series table."""
    columns = ["unique_id", "ds", "y", "observed"]
    table: pd.DataFrame = pq.read_table(store.path(series) / TABLE, columns=columns).to_pandas()
    return table


def profile_of(series: Artifact, store: Store) -> Profile:
    """The facts that choices rest on."""
    return Profile.model_validate(store.meta(series)["profile"])


def source_of(series: Artifact, store: Store) -> Source:
    """The source with what was inferred filled in: layout and columns."""
    return Source.model_validate(store.meta(series)["source"])


def target_of(series: Artifact, store: Store) -> str:
    """What the user calls the target."""
    return source_of(series, store).columns.y or "y"


def scores_of(scores: Artifact, store: Store) -> Scores | None:
    """The scores, or None where the history was too short for a test."""
    return Scores.from_folder(store.path(scores)) if scores.num_rows else None


def forecasts_of(scores: Artifact, store: Store) -> pd.DataFrame:
    """Every test forecast, see `lstm_model.evaluate.forecast_table`."""
    return pd.read_parquet(store.path(scores) / FORECASTS)


def scales_of(artifact: Artifact, store: Store) -> pd.DataFrame:
    """What errors are measured against, see `lstm_model.scaling.scales`; from scores, or fixed in a bundle."""
    return pd.read_parquet(store.path(artifact) / SCALES)


def decision_of(bundle: Artifact, store: Store) -> Decision:
    """What was decided about a bundle when it was made."""
    return Decision.model_validate(read_card(store.path(bundle))["decision"])
