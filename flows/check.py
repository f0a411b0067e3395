"""Look before anything runs: read and examine the source as retrain would, and say what was read.

python -m flows.check --data sales.csv --horizon 28
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from flows.arguments import build_config, parse_arguments
from lstm_model.contracts.redaction import redact
from tasks.runtime.passwords import password_of


def main(arguments: list[str] | None = None) -> int:
    """Check a source; return 0 if it can be read, 2 if not, with messages that say why, 1 if the reader itself failed.

    Args:
        arguments: of the command line; those of this process when empty.
    """
    options = parse_arguments("check", arguments)
    try:
        config = build_config(options)
        from lstm_model.series.inspection import inspect_source

        found = inspect_source(config, password=password_of(config.source))
        if options.table and found.examined is not None:
            found.write(Path(options.table))
        if options.json:
            Path(options.json).write_text(json.dumps({"errors": found.errors}), encoding="utf-8")
    except (ValueError, OSError) as error:
        print(f"error: {redact(str(error))}", file=sys.stderr)
        return 2
    except Exception as error:  # a fault of ours, which the user must not be shown as a fault of the data
        print(f"error: the reader failed: {type(error).__name__}: {redact(str(error))}", file=sys.stderr)
        return 1
    for text in found.errors:
        print(f"error: {redact(text)}", file=sys.stderr)
    if found.examined is None or found.raw is None:
        return 2
    table = found.examined.table
    print(f"{len(table):,} rows of {table['unique_id'].nunique():,} series, frequency {found.examined.frequency}")
    for name, reason in (found.raw.reasons | found.examined.reasons).items():
        print(f"  {name}: {reason}")
    for finding in found.examined.findings:
        print(f"  {finding.severity}: {finding.message}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
