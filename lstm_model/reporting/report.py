"""Write the report of a run: one HTML file that opens anywhere, and Markdown for the Prefect UI."""

from __future__ import annotations

import base64
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from lstm_model.contracts.clock import Clock, show_moment
from lstm_model.contracts.decision import COVERAGE_FLAW, NOT_EVALUATED, Decision
from lstm_model.contracts.findings import Finding
from lstm_model.contracts.forecast_columns import COVERAGE, name_level, show_level
from lstm_model.evaluation.scores import Scores, name_model
from lstm_model.reporting.markdown import escape_markdown, show_on_one_line

MARKDOWN_LIMIT_BYTES = 900_000
"""Most bytes of the Markdown report: it is stored in Prefect's database and loaded with every look at the run."""
WORST_SERIES = 20
MAX_FINDINGS = 50
MAX_TEXT = 400

# Name of a plot: its title, and how to read it in one line.
CAPTIONS = {
    "tutorial": (
        "The tutorial's plot",
        "The model on the data that it was trained on, as the tutorial draws it. How well it forecasts is told by the "
        "next picture.",
    ),
    "further_points": (
        "Beyond the training data",
        "Points that come after the training data, each forecast one step ahead. Below, lower is better; the "
        "title gives each model's error over all points.",
    ),
    "forecasts": (
        "Forecasts",
        "The last test window of the best, the median and the worst series. The black line should lie inside the pale "
        "band 19 times out of 20 where that is a 95% interval; the LSTM should lie closer to it than the dashed line.",
    ),
    "error_by_step": (
        "Error by step of the horizon",
        "Lower is better; 1 is the error that seasonal naive made on the training data. Where the LSTM's line lies "
        "above another, that baseline is the better forecast at that distance. Curves far above leave the plot.",
    ),
    "calibration": (
        "Calibration",
        "On the diagonal the intervals keep what they promise. Below it they are too narrow (too sure), above it too "
        "wide. On the right each solid line should run along its dashed one.",
    ),
    "residuals": (
        "Errors",
        "Left, errors should be centred on zero. Right, the median should stay near zero: a slope or a step means that "
        "the series has changed since training. Scaled: 1 is seasonal naive's error on the training data.",
    ),
    "folds": (
        "Scores by fold",
        "One point a fold, at its first cutoff. The LSTM should stay below the dashed line of seasonal naive in each; "
        "a fold that stands out shows a time that was hard for all, or for the LSTM alone.",
    ),
    "loss": (
        "Learning",
        "Both curves should fall and level off. Validation rising while training falls means learning by heart; the "
        "weights of the marked step were kept.",
    ),
    "gates": (
        "What the gates do",
        "One row a hidden unit, one column a step of the LSTM: a segment of the window, whose mean is shown above. "
        "Bright means open. A forget gate near 1 keeps its memory; rows of the cell state that follow the series carry "
        "its course.",
    ),
    "gates_over_a_wave": (
        "What the gates do over one wave",
        "At each step, the gates when the LSTM has read the last value of its window. Shown are the hidden units that "
        "move the forecast most. A gate near 1 is open, near 0 closed; the cell is what the unit remembers.",
    ),
}


@dataclass(frozen=True)
class Picture:
    """A plot with its title and one line on how to read it."""

    title: str
    caption: str
    png: bytes

    @property
    def uri(self) -> Markup:
        """Return the picture as a data URI, inside the document itself."""
        return Markup("data:image/png;base64," + base64.b64encode(self.png).decode())


@dataclass(frozen=True)
class Setting:
    """One choice and why it was made."""

    name: str
    value: str
    reason: str


@dataclass(frozen=True)
class Table:
    """Facts in rows and columns; all but the first column are numbers."""

    title: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    note: str = ""


@dataclass(frozen=True)
class Report:
    """Everything a report says, in the order in which it says it, after the verdict and the scores."""

    name: str
    """The forecasting problem."""
    scores: Scores | None
    """None if the history was too short to keep a test; the report then says that nothing is known."""
    settings: Sequence[Setting] = ()
    data: Sequence[tuple[str, str]] = ()
    """Facts about the data: names and values."""
    num_values: int = 0
    num_repaired: int = 0
    findings: Sequence[Finding] = ()
    pictures: Sequence[Picture] = ()
    """Most telling first: the last are dropped first where room is short."""
    run: Sequence[tuple[str, str]] = ()
    """Facts about the training: device, precision, steps."""
    decision: Decision | None = None
    """Whether this model makes the forecasts from now on, and why."""
    tables: Sequence[Table] = ()
    """More scores, after the first."""
    about: Sequence[tuple[str, str]] = ()
    """What this is a report of: bundle, data, code."""
    clock: Clock | None = None
    """The source's own, in which moments are shown."""


def make_picture(name: str, png: bytes) -> Picture:
    """Return a plot with the caption of its kind.

    Raises:
        ValueError: there is no plot of this name.
    """
    if name not in CAPTIONS:
        raise ValueError(f"no caption for a plot named {name!r}; expected one of {', '.join(CAPTIONS)}")
    title, caption = CAPTIONS[name]
    return Picture(title, caption, png)


def render_html(report: Report) -> str:
    """Return one self-contained page: no server, no script, no other file; for screens, dark or light, and paper."""
    return _make_environment().get_template("report.html.j2").render(_collect_content(report))


def render_markdown(report: Report, *, limit_bytes: int = MARKDOWN_LIMIT_BYTES) -> str:
    """Return the report in Markdown, with pictures up to `limit_bytes`; it names those that are left out.

    Raises:
        ValueError: the text itself is longer than the limit.
    """
    kept = list(report.pictures)
    while True:
        content = _collect_content(replace(report, pictures=kept)) | {"dropped": report.pictures[len(kept) :]}
        text = _make_environment(markdown=True).get_template("report.md.j2").render(content)
        excess = len(text.encode()) - limit_bytes
        if excess <= 0:
            return text
        if not kept:
            raise ValueError(f"the report's text alone is {len(text.encode()):,} bytes; the limit is {limit_bytes:,}")
        while excess > 0 and kept:
            excess -= len(kept.pop().uri)


@cache
def _make_environment(*, markdown: bool = False) -> Environment:
    """Return the templates' environment, which escapes every value that a template prints."""
    environment = Environment(
        loader=PackageLoader("lstm_model.reporting"),
        autoescape=not markdown,
        finalize=escape_markdown if markdown else show_on_one_line,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    environment.filters |= {
        "clip": _clip,
        "count": "{:,}".format,
        "moment": show_moment,
        "share": "{:.1%}".format,
    }
    return environment


@dataclass(frozen=True)
class ScoreCell:
    """One score as the templates print it."""

    text: str
    best: bool
    """Whether it is marked as the best of its column."""
    flaw: bool = False
    """Whether it is far from what it should be."""


@dataclass(frozen=True)
class ScoreRow:
    """The scores of one model; `own` is the LSTM."""

    name: str
    own: bool
    cells: list[ScoreCell]


def _collect_content(report: Report) -> dict[str, object]:
    """Return what the templates print, by the names that they use."""
    return _collect_scores(report.scores) | {
        "report": report,
        "tone": _find_tone(report),
        "opening": report.decision.summary if report.decision and report.decision.verdict != "promote" else "",
        "findings": list(report.findings)[:MAX_FINDINGS],
        "more_findings": max(0, len(report.findings) - MAX_FINDINGS),
        "repaired_share": report.num_repaired / report.num_values if report.num_values else 0.0,
    }


def _find_tone(report: Report) -> str:
    """Return the colour in which a report opens: good only where nothing speaks against the model."""
    headline, decision = report.scores.headline if report.scores else None, report.decision
    if (decision and decision.verdict == "reject") or (headline and not headline.beats_seasonal_naive):
        return "bad"
    doubtful = decision is not None and (decision.verdict != "promote" or bool(decision.warnings))
    return "mixed" if doubtful or headline is None or not headline.beats_baseline else "good"


def _collect_scores(scores: Scores | None) -> dict[str, object]:
    if scores is None:
        return {"scores": None, "verdict": NOT_EVALUATED}
    head, rows = _make_score_table(scores)
    series_head, series_rows = _make_series_table(scores)
    return {
        "scores": scores,
        "verdict": scores.headline.verdict,
        "score_head": head,
        "score_rows": rows,
        "series_head": series_head,
        "series_rows": series_rows,
    }


def _make_score_table(scores: Scores) -> tuple[list[str], list[ScoreRow]]:
    """Return column names, and a row for each model."""
    columns = {"mase": "MASE", "rmsse": "RMSSE", "smape": "sMAPE %", "mae": "MAE", "rmse": "RMSE", "wql": "WQL"}
    best = {name: scores.total[name].min() for name in columns}
    rows = []
    for record in scores.to_records():
        values = {name: getattr(record, name) for name in columns}
        cells = [ScoreCell(format_number(value), value == best[name]) for name, value in values.items()]
        cells.append(ScoreCell("–" if record.bias is None else f"{record.bias:+.1%}", best=False))
        for level in scores.levels:
            share = record.by_level[f"{COVERAGE}{name_level(level)}"]
            off = share is not None and abs(share - level) > COVERAGE_FLAW
            cells.append(ScoreCell(format_share(share), best=False, flaw=off))
        rows.append(ScoreRow(name_model(record.model), record.model == scores.headline.judged, cells))
    heads = [f"inside {show_level(level)}" for level in scores.levels]
    return ["model", *columns.values(), "bias", *heads], rows


def _make_series_table(scores: Scores) -> tuple[list[str], list[list[str]]]:
    """Return the series on which the LSTM does worst, beside the best baseline, by the metric of the headline."""
    judged, best, metric = scores.headline.judged, scores.headline.best_baseline, scores.headline.metric
    by_model = {name: frame.set_index("unique_id") for name, frame in scores.per_series.groupby("model")}
    table = by_model[judged].join(by_model[best][[metric, "mae"]].add_suffix("_baseline"))
    worst = table.sort_values(metric, ascending=False, kind="stable").head(WORST_SERIES)
    name, other = metric.upper(), name_model(best)
    head = ["series", "points", name, f"{other} {name}", "MAE", f"{other} MAE", "bias", f"{name_model(judged)} is"]
    return head, [_make_series_row(str(unique_id), row, metric) for unique_id, row in worst.iterrows()]


def _make_series_row(unique_id: str, row: pd.Series[Any], metric: str) -> list[str]:
    better = "better" if row[metric] < row[f"{metric}_baseline"] else "not better"
    numbers = [format_number(row[name]) for name in (metric, f"{metric}_baseline", "mae", "mae_baseline")]
    bias = "–" if math.isnan(row["bias"]) else f"{row['bias']:+.1%}"
    return [_clip(unique_id, 80), f"{int(row['count']):,}", *numbers, bias, better]


def format_share(value: float | None, *, decimals: int = 1) -> str:
    """Return a share in percent, – for none."""
    return "–" if value is None else f"{value:.{decimals}%}"


def format_number(value: float | None) -> str:
    """Return a number to read: four significant digits, powers of ten only if they are needed, – for none."""
    if value is None or math.isnan(value):
        return "–"
    if value != 0 and not 1e-3 <= abs(value) < 1e6:
        return f"{value:.3e}"
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:#.4g}" if abs(value) >= 10 else f"{value:.3f}"


def _clip(value: Any, limit: int = MAX_TEXT) -> str:
    text = str(value)
    return text if len(text) <= limit else text[: limit - 1] + "…"
