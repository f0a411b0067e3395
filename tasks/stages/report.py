"""Write the report: one HTML file, and the same as Markdown for the Prefect UI."""

from __future__ import annotations

from prefect import task
from prefect.cache_policies import NO_CACHE

from lstm_model.contracts.artifact import Artifact
from lstm_model.contracts.decision import Decision
from lstm_model.contracts.profile import Profile
from lstm_model.contracts.resolved import Resolved
from lstm_model.contracts.stage_meta import ModelMeta, PlotsMeta, SeriesMeta
from lstm_model.contracts.windows_meta import WindowsMeta, read_windows_meta
from lstm_model.lifecycle.stage_outputs import Subject, read_scores
from lstm_model.storage.store import Store


@task(name="report", task_run_name="report", cache_policy=NO_CACHE, timeout_seconds=3600)
def report(about: Subject, resolved: Resolved, plots: Artifact, decision: Decision, store: Store) -> Artifact:
    """report.html and report.md; nothing in them depends on the clock, so that equal inputs give equal bytes."""
    from lstm_model.reporting.report import Report, Setting, make_picture, render_html, render_markdown

    facts, trained = store.read_meta(about.series, SeriesMeta), store.read_meta(about.model, ModelMeta)
    cut = read_windows_meta(store.path(about.windows))
    content = Report(
        name=resolved.config.name,
        scores=read_scores(about.scores, store),
        settings=[Setting(name, value or "–", reason) for name, value, reason in resolved.reasons],
        data=_data_facts(facts.profile, cut),
        num_values=facts.profile.num_observed + facts.repaired,
        num_repaired=facts.repaired,
        findings=facts.findings,
        pictures=[
            make_picture(name, (store.path(plots) / f"{name}.png").read_bytes()) for name in _order(plots, store)
        ],
        run=[
            ("device", f"{trained.device}, {trained.precision}"),
            ("training windows", f"{about.model.num_rows:,}"),
            ("steps taken", f"{trained.best_step:,}"),
            ("remarks", "; ".join(trained.notes)),
        ],
        decision=decision,
    )
    with store.create("report") as draft:
        (draft.folder / "report.html").write_text(render_html(content), encoding="utf-8")
        (draft.folder / "report.md").write_text(render_markdown(content), encoding="utf-8")
        draft.num_rows = len(content.pictures)
    return draft.artifact


def _order(plots: Artifact, store: Store) -> list[str]:
    return store.read_meta(plots, PlotsMeta).order


def _data_facts(profile: Profile, cut: WindowsMeta) -> list[tuple[str, str]]:
    """What the data are and how they were split."""
    counts = cut.windows
    own = " at the latest: each series by its own end" if cut.align == "end" else ""
    cutoffs = {split: _shown(cutoff) + own for split, cutoff in cut.cutoffs.items()}
    return [
        ("series", f"{profile.num_series:,}"),
        ("observed values", f"{profile.num_observed:,}"),
        ("values a series", f"{profile.length_min:,} to {profile.length_max:,}"),
        ("from", _shown(profile.start)),
        ("to", _shown(profile.end)),
        ("frequency", profile.frequency),
        ("trained on", f"targets up to {cutoffs['train']}: {counts['train']:,} windows"),
        ("validated on", f"targets up to {cutoffs['validation']}: {counts['validation']:,} windows"),
        ("tested on", f"targets up to {cutoffs['test']}: {counts['test']:,} windows"),
    ]


def _shown(ds: str) -> str:
    """A timestamp without the digits that say nothing: 2024-03-01 12:00, 2024-03-01, 17."""
    return ds.replace("T", " ").removesuffix(".000000").removesuffix(":00").removesuffix(" 00:00")
