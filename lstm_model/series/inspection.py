"""Read and examine a source exactly as ingest does, and tell what was read; nothing is kept."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow as pa

from lstm_model.contracts.findings import DataError
from lstm_model.contracts.settings import Columns, FileLayout, PipelineConfig, Source, SourceKind
from lstm_model.quality.doctor import Examination, examine
from lstm_model.series.series_table import write_table
from lstm_model.sources import synthetic
from lstm_model.sources.raw_series import RawSeries, read_source


@dataclass
class Inspection:
    """What is known of a source; what comes after an error is None."""

    config: PipelineConfig
    raw: RawSeries | None = None
    examined: Examination | None = None
    errors: tuple[str, ...] = ()

    def write(self, target: Path) -> None:
        """Write the series table, as ingest would."""
        assert self.examined is not None
        write_table(pa.Table.from_pandas(self.examined.table, preserve_index=False), target)


def inspect_source(config: PipelineConfig, *, password: str | None = None) -> Inspection:
    """Read and examine the source of a config; what is wrong with it is in `errors`, not raised."""
    found = Inspection(config)
    try:
        with TemporaryDirectory() as folder:
            source = _find_file(config.source, Path(folder))
            found.raw = read_source(source, covariates=config.covariates, password=password)
        found.examined = examine(found.raw, config)
    except (DataError, OSError) as error:
        found.errors = (str(error),)
    return found


def _find_file(source: Source, folder: Path) -> Source:
    """Return the source; of a synthetic one, a file generated in `folder`."""
    if source.kind is not SourceKind.synthetic:
        return source
    table = synthetic.generate_dataset(
        source.dataset, num_series=source.num_series, num_steps=source.num_steps, seed=source.seed
    )
    table.to_parquet(folder / "generated.parquet", index=False)
    file = {"kind": SourceKind.files, "path": str(folder / "generated.parquet"), "layout": FileLayout.long}
    return source.model_copy(update={**file, "columns": Columns(unique_id="unique_id", ds="ds", y="y")})
