"""Read and write the artifacts of the stages, without importing the code of those stages.

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
from lstm_model.contracts.clock import Clock
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
    """A newly trained model, with all that plots and report show of it."""

    model_config = ConfigDict(frozen=True)

    series: Artifact
    windows: Artifact
    model: Artifact
    scores: Artifact


def locate_source(source: Source, generated: Artifact | None, store: Store) -> Source:
    """Return the source; of a synthetic one, the file that was generated for it."""
    if generated is None:
        return source
    columns = Columns(unique_id="unique_id", ds="ds", y="y")
    file = {"kind": SourceKind.files, "path": str(store.path(generated) / GENERATED), "layout": FileLayout.long}
    return source.model_copy(update={**file, "columns": columns})


def read_targets(
    series: Artifact, store: Store, *, only: Sequence[str] | None = None, since: Any = None
) -> pd.DataFrame:
    """Read unique_id, ds, y and observed of a series table: of all series or of those named, from a moment on."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns = ["unique_id", "ds", "y", "observed"]
    rows = [("unique_id", "in", list(only))] if only is not None else []
    rows += [("ds", ">=", since)] if since is not None else []
    folders = list_folders(series, store)
    found = [pq.read_table(folder / TABLE, columns=columns, filters=rows or None) for folder in folders]
    table: pd.DataFrame = pa.concat_tables(found).to_pandas()
    return table


def list_folders(artifact: Artifact, store: Store) -> list[Path]:
    """Return the folders that hold the files of an artifact: one, or one for each of its shards."""
    return [store.path(shard) for shard in store.shards(artifact)]


def find_frame(series: Artifact, store: Store) -> Frame | None:
    """Return what shards must know of their panel; None if the series are one table."""
    if "shards" not in store.meta(series):
        return None
    meta = store.read_meta(series, PanelMeta)
    return Frame(end=meta.profile.end, frequency=meta.profile.frequency, categories=meta.categories)


def read_profile(series: Artifact, store: Store) -> Profile:
    """Read the facts about the series that settings are inferred from."""
    return store.read_meta(series, SeriesMeta).profile


def read_inferred_source(series: Artifact, store: Store) -> Source:
    """Read the source, with its inferred layout and columns filled in."""
    return store.read_meta(series, SeriesMeta).source


def read_clock(series: Artifact, store: Store) -> Clock | None:
    """Read the source's own clock; None if the series are in it."""
    return store.read_meta(series, SeriesMeta).clock


def read_target_name(series: Artifact, store: Store) -> str:
    """Read the user's name of the target."""
    return read_inferred_source(series, store).columns.y or "y"


def read_scores(scores: Artifact, store: Store) -> Scores | None:
    """Read the scores; None if the history was too short for a test."""
    from lstm_model.evaluation.scores import Scores

    return Scores.from_folder(store.path(scores)) if scores.num_rows else None


def summarise_scores(scores: Artifact, store: Store) -> ScoreSummary | None:
    """Read the scores in total, without pandas, which a cached run need not import; None if there was no test."""
    return read_score_summary(store.path(scores)) if scores.num_rows else None


def read_forecasts(artifact: Artifact, store: Store, columns: list[str] | None = None) -> pd.DataFrame:
    """Read forecasts: those of a test (see `evaluate.tabulate_forecasts`), or a champion's next ones."""
    import pandas as pd

    return pd.read_parquet(store.path(artifact) / FORECASTS, columns=columns)


def read_scales(artifact: Artifact, store: Store) -> pd.DataFrame:
    """Read the error scales (see `error_scales.measure_scales`) of a test, or those that a bundle keeps."""
    import pandas as pd

    return pd.read_parquet(store.path(artifact) / SCALES)


def write_forecasts(folder: Path, table: pd.DataFrame, scales: pd.DataFrame) -> int:
    """Write the forecasts and the scales of a test, and return the number of forecasts."""
    table.to_parquet(folder / FORECASTS, index=False, compression="zstd")
    scales.to_parquet(folder / SCALES, index=False)
    return len(table)


def read_decision(bundle: Artifact, store: Store) -> Decision:
    """Read the decision that was made when the bundle was."""
    return read_bundle_card(store.path(bundle)).decision
