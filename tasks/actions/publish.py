"""Open the store, and publish the outcome of a run as files and in the Prefect UI. Never cached, and idempotent."""

from __future__ import annotations

import hashlib
import os
import re
from datetime import UTC, datetime
from pathlib import Path

from prefect import task
from prefect.cache_policies import NO_CACHE
from pydantic import BaseModel

from lstm_model.contracts.artifact import Artifact
from lstm_model.contracts.decision import NOT_EVALUATED, Decision
from lstm_model.contracts.resolved import Resolved
from lstm_model.contracts.score_records import ScoreRecord
from lstm_model.contracts.settings_file import dump_config
from lstm_model.contracts.stage_meta import PlotsMeta
from lstm_model.lifecycle.retention import clean_up, remember
from lstm_model.lifecycle.stage_outputs import summarise_scores
from lstm_model.reporting.markdown import PUBLISHED
from lstm_model.storage.backend import is_url, whole_root
from lstm_model.storage.store import Store
from tasks.actions.promote import Settled, Status
from tasks.runtime.logs import forwarded_logs
from tasks.runtime.prefect_ui import show_markdown
from tasks.runtime.records import StageRecord, summarise_records
from tasks.runtime.resume import drop


class Pages(BaseModel):
    """What a run has to show."""

    scores: Artifact
    plots: Artifact
    report: Artifact


_STANDING: dict[Status, str] = {
    "promoted": "is the champion now",
    "unchanged": "is the champion",
    "rejected": "was not promoted",
    "deferred": "is not promoted yet",
    "waiting": "waits for your decision",
    "kept back": "was not promoted, as asked",
}


class Outcome(BaseModel):
    """What a run of the flow gives back; `summary` is what the command line prints."""

    status: Status
    name: str
    bundle: str
    """Version of what was trained."""
    champion: str | None
    """Version of what forecasts from now on."""
    decision: Decision
    how_to_promote: str
    """The command that makes this bundle champion; empty where it is."""
    link: str | None
    """The form in the UI that does the same."""
    report: str
    plots: str
    pipeline: str
    model: Artifact
    verdict: str
    notes: list[str]
    """What was left out of the scores, and why; what will fail next."""
    scores: list[ScoreRecord]
    stages: list[StageRecord]

    def summary(self) -> str:
        """The verdict, a small table of scores, and where to look further."""
        decided = [self.decision.summary, *(w for w in self.decision.warnings if w != self.decision.summary)]
        decided[1:] = [f"note: {warning}" for warning in decided[1:]]
        promoted = self.decision.verdict == "promote"
        lines = ["", *([] if promoted else [*decided, ""]), self.verdict, ""]
        if self.scores:
            lines += [f"{'':<16}{'MASE':>8}{'RMSSE':>8}{'sMAPE':>8}{'RMSE':>12}{'bias':>8}"]
            lines += [_show_scores(scores) for scores in self.scores]
        lines += [f"note: {note}" for note in self.notes]
        lines += ["", *decided] if promoted else []
        computed = [
            f"{one.name} {one.seconds:.1f} s" for one in summarise_records(self.stages) if one.outcome != "cached"
        ]
        lines += [
            "",
            f"stages    {', '.join(computed) if computed else 'unchanged: all came from the cache'}",
            f"report    {from_here(self.report)}",
            f"plots     {from_here(self.plots)}",
            f"pipeline  {from_here(self.pipeline)}",
            f"bundle    {self.bundle} {_STANDING[self.status]}",
        ]
        if self.how_to_promote:
            lines.append(f"promote   {self.how_to_promote}")
        if self.link:
            lines.append(f"or        {self.link}")
        return "\n".join(lines)


def _show_scores(scores: ScoreRecord) -> str:
    bias = "–" if scores.bias is None else f"{scores.bias:+.1%}"
    errors = f"{scores.mase:>8.3f}{scores.rmsse:>8.3f}{scores.smape:>8.2f}{scores.rmse:>12.4g}"
    return f"{scores.model:<16}{errors}{bias:>8}"


def open_store(root: str, name: str) -> Store:
    """The folder of one problem: two problems never share it. What killed runs left half-written is removed."""
    store = Store(Path(root) / name) if not is_url(root) else _open_shared(whole_root(root), name)
    store.sweep()
    return store


def _open_shared(url: str, name: str) -> Store:
    """A store in a bucket, with its folder among the caches of this machine."""
    from lstm_model.storage.bucket_backend import BucketBackend

    caches = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "evergreen"
    readable = re.sub("[^A-Za-z0-9]+", "-", url)[:60]
    root = caches / f"{readable}-{hashlib.sha256(url.encode()).hexdigest()[:8]}" / name
    return Store(root, BucketBackend(f"{url}/{name}", root))


@task(name="publish", task_run_name="publish", cache_policy=NO_CACHE)
def publish(
    resolved: Resolved,
    pages: Pages,
    settled: Settled,
    records: list[StageRecord],
    store: Store,
) -> Outcome:
    """Put report.html, the plots and the complete pipeline.yaml at the top of the store, and the report into the UI.

    Args:
        resolved: the config with nothing left open, and warnings.
        pages: scores, plots and report.
        settled: whether the new model forecasts from now on.
        records: what became of each stage of this run.
        store: of this problem.
    """
    config = resolved.config
    # An experiment must not lie where people look for what is in production.
    top = "experiment/" if settled.status == "kept back" else ""
    report, pipeline = f"{top}report.html", f"{top}pipeline.yaml"
    date = f"Published {datetime.now(UTC):%Y-%m-%d %H:%M} UTC; this bundle {_STANDING[settled.status]}."
    html = (store.path(pages.report) / "report.html").read_text(encoding="utf-8")
    store.backend.write(report, html.replace(PUBLISHED, f'<p class="muted">{date}</p>', 1).encode())
    store.backend.write(pipeline, dump_config(config))
    found = summarise_scores(pages.scores, store)
    verdict = found.headline.verdict if found else NOT_EVALUATED
    markdown = (store.path(pages.report) / "report.md").read_text(encoding="utf-8")
    page = f"{_for_a_person(settled)}{markdown}\n\n{date}\n\n{stage_table(records)}"
    show_markdown("report", config.name, page, description=verdict)
    remember(store, [record.artifact for record in records], flow="retrain")
    with forwarded_logs("lstm_model"):
        clean_up(store)
    drop(store)
    return Outcome(
        status=settled.status,
        name=config.name,
        bundle=settled.bundle,
        champion=settled.champion,
        decision=settled.decision,
        how_to_promote=settled.how_to_promote,
        link=settled.link,
        report=store.backend.shown(report),
        plots=_copy_plots(pages.plots, f"{top}plots", store),
        pipeline=store.backend.shown(pipeline),
        model=next(record.artifact for record in records if record.artifact.kind == "model"),
        verdict=verdict,
        notes=[*(found.notes if found else []), *resolved.warnings],
        scores=found.total if found else [],
        stages=records,
    )


def _for_a_person(settled: Settled) -> str:
    """Above the report, where somebody is to decide."""
    if settled.status != "waiting":
        return ""
    form = f"[Approve it here]({settled.link}), or run" if settled.link else "To approve it, run"
    return f"**Bundle `{settled.bundle}` waits for your decision.** {form}\n\n    {settled.how_to_promote}\n\n"


def _copy_plots(plots: Artifact, folder: str, store: Store) -> str:
    """The pictures under a name that a person can type; those of an earlier run that are no longer drawn go."""
    names = {f"{folder}/{name}.png": f"{name}.png" for name in store.read_meta(plots, PlotsMeta).order}
    for name, file in names.items():
        store.backend.write(name, (store.path(plots) / file).read_bytes())
    for old in store.backend.entries(folder):
        if old.name not in names and old.name.endswith(".png"):
            store.backend.remove(old.name)
    return store.backend.shown(folder)


def from_here(path: str) -> str:
    """As a person at this folder would type it."""
    here = Path.cwd()
    return str(Path(path).relative_to(here)) if Path(path).is_relative_to(here) else path


def stage_table(records: list[StageRecord]) -> str:
    """What was computed and what came from the cache, as a Markdown table."""
    rows = [f"| {r.name} | {r.outcome} | {r.seconds:.1f} | `{r.artifact}` |" for r in summarise_records(records)]
    return "\n".join(
        ["## This run", "", "| stage | outcome | seconds | artifact |", "| --- | --- | --- | --- |", *rows]
    )
