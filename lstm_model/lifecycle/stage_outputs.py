"""Read what the stages wrote into their artifacts, without importing the code of those stages.

Every run imports this, also one whose stages all come from the cache: what only some of them need is
imported where it is needed.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict

from lstm_model.contracts.artifact import Artifact
from lstm_model.contracts.bundle_card import read_bundle_card
from lstm_model.contracts.decision import Decision
from lstm_model.contracts.profile import Profile
from lstm_model.contracts.score_records import ScoreSummary, read_score_summary
from lstm_model.contracts.settings import Columns, FileLayout, Source, SourceKind
from lstm_model.contracts.shard import Frame
from lstm_model.contracts.stage_meta import PanelMeta, SeriesMeta
from lstm_model.storage.store import Store

if TYPE_CHECKING:
    import pandas as pd

    from lstm_model.evaluation.scores import Scores

GENERATED = "generated.parquet"
TABLE = "series.parquet"
FACTS = "facts.parquet"
FORECASTS = "forecasts.parquet"
SCALES = "scales.parquet"
DECISION = "decision.json"
ENVELOPE = "envelope.json"


class Subject(BaseModel):
    """What plots and report are about."""

    model_config = ConfigDict(frozen=True)

    series: Artifact
    windows: Artifact
    model: Artifact
    scores: Artifact


def as_files(source: Source, generated: Artifact | None, store: Store) -> Source:
    """The source itself; where it is synthetic, the file that was generated for it."""
    if generated is None:
        return source
    columns = Columns(unique_id="unique_id", ds="ds", y="y")
    file = {"kind": SourceKind.files, "path": str(store.path(generated) / GENERATED), "layout": FileLayout.long}
    return source.model_copy(update={**file, "columns": columns})


def series_of(series: Artifact, store: Store, *, only: Sequence[str] | None = None, since: Any = None) -> pd.DataFrame:
    """unique_id, ds, y and observed of the series table, or of some series of it, or from a moment on."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns = ["unique_id", "ds", "y", "observed"]
    rows = [("unique_id", "in", list(only))] if only is not None else []
    rows += [("ds", ">=", since)] if since is not None else []
    folders = folders_of(series, store)
    found = [pq.read_table(folder / TABLE, columns=columns, filters=rows or None) for folder in folders]
    table: pd.DataFrame = pa.concat_tables(found).to_pandas()
    return table


def folders_of(artifact: Artifact, store: Store) -> list[Path]:
    """Where the files of an artifact lie, or those of its shards."""
    return [store.path(shard) for shard in store.shards(artifact)]


def frame_of(series: Artifact, store: Store) -> Frame | None:
    """What its shards must know of a panel; None where it is one table."""
    if "shards" not in store.meta(series):
        return None
    meta = store.read_meta(series, PanelMeta)
    return Frame(end=meta.profile.end, frequency=meta.profile.frequency, categories=meta.categories)


def profile_of(series: Artifact, store: Store) -> Profile:
    """The facts that choices rest on."""
    return store.read_meta(series, SeriesMeta).profile


def source_of(series: Artifact, store: Store) -> Source:
    """The source with what was inferred filled in: layout and columns."""
    return store.read_meta(series, SeriesMeta).source


def target_of(series: Artifact, store: Store) -> str:
    """What the user calls the target."""
    return source_of(series, store).columns.y or "y"


def scores_of(scores: Artifact, store: Store) -> Scores | None:
    """The scores, or None where the history was too short for a test."""
    from lstm_model.evaluation.scores import Scores

    return Scores.from_folder(store.path(scores)) if scores.num_rows else None


def score_summary_of(scores: Artifact, store: Store) -> ScoreSummary | None:
    """Read without pandas, which a run that computes nothing has no other use for; None as in `scores_of`."""
    return read_score_summary(store.path(scores)) if scores.num_rows else None


def forecasts_of(artifact: Artifact, store: Store, columns: list[str] | None = None) -> pd.DataFrame:
    """Every test forecast of scores, see `evaluate.tabulate_forecasts`, or what a champion forecasts next."""
    import pandas as pd

    return pd.read_parquet(store.path(artifact) / FORECASTS, columns=columns)


def scales_of(artifact: Artifact, store: Store) -> pd.DataFrame:
    """What errors are measured against, see `error_scales.measure_scales`; from scores, or fixed in a bundle."""
    import pandas as pd

    return pd.read_parquet(store.path(artifact) / SCALES)


def decision_of(bundle: Artifact, store: Store) -> Decision:
    """What was decided about a bundle when it was made."""
    return read_bundle_card(store.path(bundle)).decision
