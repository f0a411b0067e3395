"""Look before anything runs: read and examine the source as retrain would, and say what was read.

python -m flows.check --data sales.csv --horizon 28
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from flows.arguments import build_config, parse_arguments
from flows.check_text import write_page
from lstm_model.contracts.inspection import Inspection
from lstm_model.contracts.redaction import redact
from lstm_model.contracts.settings import PipelineConfig
from tasks.runtime.passwords import password_of


def main(arguments: Sequence[str] | None = None) -> int:
    """Check a source; return 0 if it can be read, 2 if not, with messages that say why, 1 if the reader itself failed.

    Args:
        arguments: of the command line; those of this process when empty.
    """
    options = parse_arguments("check", arguments)
    try:
        config = build_config(options)
        with TemporaryDirectory() as folder:
            table = Path(folder) / "series.parquet"
            found = inspect(config, table)
            if options.table and found.readable:
                shutil.copyfile(table, options.table)
        if options.json:
            Path(options.json).write_text(found.model_dump_json(indent=1), encoding="utf-8")
    except (ValueError, OSError) as error:
        print(f"error: {redact(str(error))}", file=sys.stderr)
        return 2
    except Exception as error:  # a fault of ours, which must not be shown as a fault of the data
        print(f"error: the reader failed: {type(error).__name__}: {redact(str(error))}", file=sys.stderr)
        return 1
    print(redact(write_page(found)))
    for text in found.errors:
        print(f"\nerror: {redact(text)}", file=sys.stderr)
    return 0 if found.readable else 2


def inspect(config: PipelineConfig, table: Path) -> Inspection:
    """Read and examine the source, and foresee what retrain and forecast will make of it."""
    from lstm_model.lifecycle.outlook import add_prospects
    from lstm_model.series.inspection import inspect_source

    found = inspect_source(config, table, password=password_of(config.source))
    add_prospects(found, config, table)
    return found


if __name__ == "__main__":
    raise SystemExit(main())
