"""Render what the monitor found as Markdown, for the UI."""

from __future__ import annotations

import base64

from lstm_model.contracts.forecast_columns import find_coverage, show_level
from lstm_model.contracts.monitored import Monitored, PeriodRecord
from lstm_model.reporting.markdown import escape_markdown
from lstm_model.reporting.report import format_number, format_share

SHOWN = 30


def render_monitor(seen: Monitored, picture: bytes | None) -> str:
    """Return the finding, the plot and a table of the latest periods."""
    parts = [
        f"# Monitor: {escape_markdown(seen.name)}",
        f"**{seen.status.capitalize()}.** {escape_markdown(seen.finding)}",
        *map(escape_markdown, seen.describe_ended()),
    ]
    if seen.retraining:
        parts.append(f"Retraining: {escape_markdown(seen.retraining)}")
    if picture:
        parts.append(f"![errors over time](data:image/png;base64,{base64.b64encode(picture).decode()})")
    if seen.compared_with:
        parts.append(
            f"Compared with {seen.compared_with}. 1 is the error of that test; alarms are at the dotted lines."
        )
    if seen.periods:
        parts.append(_render_table(seen.periods[::-1][:SHOWN]))
    return "\n\n".join(parts)


def _render_table(rows: list[PeriodRecord]) -> str:
    shares = find_coverage(rows[0].by_level)
    heads = ["period to", "model", "error", *(f"inside {show_level(level)}" for level in shares.values())]
    lines = [
        f"| {row.end} | `{row.model_version}` | {format_number(row.error)} | "
        + " | ".join(format_share(row.by_level[s], decimals=0) for s in shares)
        + " |"
        for row in rows
    ]
    return "\n".join([f"| {' | '.join(heads)} |", "| --- | --- |" + " ---: |" * (1 + len(shares)), *lines])
