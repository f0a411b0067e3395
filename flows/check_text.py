"""Write what `check` found as a page for a terminal: short lines, aligned columns, plain English."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from itertools import groupby

from lstm_model.contracts.findings import escape_unseen, number
from lstm_model.contracts.inspection import ColumnRole, Inspection, SeriesSpan

WIDTH = 110
LONGEST_CELL = 28
"""Characters of a cell; a longer one is cut."""
MOST_COLUMNS = 24
MOST_SERIES = 8
NAMES = {"clock": "time zone", "columns.ds format": "time format"}
"""Words for what has no setting."""
LABEL = 11
"""Width of the labels at the left."""


def write_page(found: Inspection) -> str:
    """Return everything about a source as text, but its errors."""
    sections = [
        _write_source(found),
        _write_columns(found),
        _write_series(found),
        _write_rows(found),
        _write_covariates(found),
        _write_choices(found),
        _write_findings(found),
        _write_prospects(found),
    ]
    return "\n\n".join("\n".join(lines) for lines in sections if lines)


def _write_source(found: Inspection) -> list[str]:
    rows = sum(found.files.values())
    count = f" ({number(len(found.files), 'file')})" if len(found.files) > 1 else ""
    lines = [_label("source", found.source + count)]
    if found.files:
        lines.append(_label("", f"{number(rows, 'row')}, {number(len(found.columns), 'column')}"))
    for one in found.reading:
        lines += _wrap(NAMES.get(one.setting, one.setting), ": ".join(filter(None, (one.value, one.reason))))
    return lines


def _write_columns(found: Inspection) -> list[str]:
    """Say of each column what it is for; neighbours of one kind and role are one line."""
    alike = [list(group) for _, group in groupby(found.columns, key=lambda c: (c.kind, c.role, c.reason))]
    rows = [_describe_columns(group) for group in alike]
    more = [[f"and {len(rows) - MOST_COLUMNS:,} more"]] if len(rows) > MOST_COLUMNS else []
    return _align("columns", ["column", "read as", "used as", "why"], rows[:MOST_COLUMNS] + more) if rows else []


def _describe_columns(group: list[ColumnRole]) -> list[str]:
    first, last = group[0], group[-1]
    between = ", …, " if len(group) > 2 else ", "
    name = first.name if len(group) == 1 else f"{_cut(first.name)}{between}{_cut(last.name)} ({len(group):,})"
    return [name, first.kind, "?" if first.role == "unknown" else first.role, first.reason]


def _write_series(found: Inspection) -> list[str]:
    if found.total is None:
        return []
    shown = [found.total, *found.series[:MOST_SERIES]] if found.num_series > 1 else found.series
    header = ["series", "first value", "last value", "values", "missing", "longest gap", "zeros"]
    names = [f"all {found.num_series:,}" if one is found.total else one.unique_id for one in shown]
    rows = [[name, *_count(one)] for name, one in zip(names, shown, strict=True)]
    more = found.num_series - MOST_SERIES
    rest = [[f"and {more:,} more"]] if more > 0 else []
    return _align("series", header, rows + rest, right=3)


def _count(one: SeriesSpan) -> list[str]:
    steps = one.values + (one.missing or 0)
    missing = "?" if one.missing is None else _share(one.missing, steps)
    gap = "?" if one.longest_gap is None else f"{one.longest_gap:,}"
    return [one.first, one.last, f"{one.values:,}", missing, gap, _share(one.zeros, one.values)]


def _share(count: int, total: int) -> str:
    if not count:
        return "0"
    share = count / max(1, total)
    return f"{count:,} ({'<1 %' if share < 0.01 else f'{share:.0%}'.replace('%', ' %')})"


def _write_rows(found: Inspection) -> list[str]:
    """Show the first and the last rows."""
    if not found.first_rows:
        return []
    rows = [row[:MOST_COLUMNS] for row in found.first_rows]
    if found.last_rows:
        rows += [["…"], *(row[:MOST_COLUMNS] for row in found.last_rows)]
    return _align("rows", found.header[:MOST_COLUMNS], rows)


def _write_covariates(found: Inspection) -> list[str]:
    rows = [[one.name, one.role, one.values, one.known] for one in found.covariates]
    return _align("covariates", ["name", "role", "values", "known"], rows) if rows else []


def _write_choices(found: Inspection) -> list[str]:
    rows = [[one.setting, one.value, one.reason] for one in found.choices]
    return _align("inferred", ["setting", "value", "why"], rows) if rows else []


def _write_findings(found: Inspection) -> list[str]:
    lines = [line for one in found.findings for line in _wrap(one.severity, one.message, indent=2)]
    if lines or found.errors:
        return ["findings", *lines] if lines else []
    return [_label("findings", "none")]


def _write_prospects(found: Inspection) -> list[str]:
    if found.errors:  # they say it themselves
        return []
    told = [(one.flow, f"{'will work' if one.works else 'WILL FAIL'}: {one.reason}") for one in found.prospects]
    return [line for flow, text in told for line in _wrap(flow, text)]


def _align(label: str, header: Sequence[str], rows: list[list[str]], *, right: int = 99) -> list[str]:
    """Return rows as aligned columns below a header; columns from number `right` on stand at the right."""
    cells = [[*map(_cut, row[:-1]), escape_unseen(row[-1])] for row in [list(header), *rows]]
    full = [row for row in cells if len(row) == len(header)]
    widths = [max(len(row[column]) for row in full) for column in range(len(header))]
    lines = []
    for row in cells:
        pairs = enumerate(zip(row, widths, strict=False))
        line = "  ".join(cell.rjust(width) if c >= right else cell.ljust(width) for c, (cell, width) in pairs)
        lines.append(f"  {line}".rstrip())
    return [label, *lines]


def _cut(text: str) -> str:
    text = escape_unseen(text)
    return text if len(text) <= LONGEST_CELL else f"{text[: LONGEST_CELL - 1]}…"


def _label(label: str, text: str) -> str:
    return f"{label:<{LABEL}}  {escape_unseen(text)}"


def _wrap(label: str, text: str, *, indent: int = 0) -> list[str]:
    """Return a labelled text on lines of at most WIDTH characters."""
    start = f"{' ' * indent}{label:<{LABEL - indent}}  "
    return textwrap.wrap(
        escape_unseen(text), WIDTH, initial_indent=start, subsequent_indent=" " * len(start), break_long_words=False
    )
