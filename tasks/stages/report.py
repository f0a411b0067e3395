"""Write the report: one HTML file, and the same as Markdown for the Prefect UI."""

from __future__ import annotations

from importlib.metadata import version

from prefect import task
from prefect.cache_policies import NO_CACHE

from lstm_model.contracts.artifact import VERSION_DIGITS, Artifact
from lstm_model.contracts.bundle_card import read_model_card
from lstm_model.contracts.decision import Decision
from lstm_model.contracts.resolved import Resolved
from lstm_model.contracts.stage_meta import ModelMeta, PlotsMeta, SeriesMeta
from lstm_model.contracts.windows_meta import read_windows_meta
from lstm_model.lifecycle.stage_outputs import Subject, read_scores
from lstm_model.storage.store import Store
from tasks.runtime.code_hash import closure_hash


@task(name="report", task_run_name="report", cache_policy=NO_CACHE, timeout_seconds=3600)
def report(
    about: Subject, bundle: Artifact, resolved: Resolved, plots: Artifact, decision: Decision, store: Store
) -> Artifact:
    """Write report.html and report.md; nothing in them depends on the clock, so that equal inputs give equal bytes."""
    from lstm_model.reporting.facts import describe_bundle, describe_data, describe_training
    from lstm_model.reporting.report import Report, Setting, make_picture, render_html, render_markdown

    facts, trained = store.read_meta(about.series, SeriesMeta), store.read_meta(about.model, ModelMeta)
    cut, order = read_windows_meta(store.path(about.windows)), store.read_meta(plots, PlotsMeta).order
    content = Report(
        name=resolved.config.name,
        scores=read_scores(about.scores, store),
        settings=[Setting(name, value or "–", reason) for name, value, reason in resolved.reasons],
        data=describe_data(facts.profile, cut, facts.clock),
        num_values=facts.profile.num_observed + facts.repaired,
        num_repaired=facts.repaired,
        findings=facts.findings,
        pictures=[make_picture(name, (store.path(plots) / f"{name}.png").read_bytes()) for name in order],
        run=describe_training(trained, num_windows=about.model.num_rows),
        decision=decision,
        about=describe_bundle(bundle, about.series, facts.source, code=_name_code(about.model, store)),
        clock=facts.clock,
    )
    with store.create("report") as draft:
        (draft.folder / "report.html").write_text(render_html(content), encoding="utf-8")
        (draft.folder / "report.md").write_text(render_markdown(content), encoding="utf-8")
        draft.num_rows = len(content.pictures)
    return draft.artifact


def _name_code(model: Artifact, store: Store) -> str:
    """Name the versions of the libraries, and a hash of the code that a training depends on."""
    versions = {"evergreen": version("evergreen-forecast"), **read_model_card(store.path(model)).versions}
    named = ", ".join(f"{name} {number}" for name, number in versions.items())
    return f"{closure_hash('tasks.stages.train')[:VERSION_DIGITS]} ({named})"
