"""Plan the folds of a backtest, and publish its report."""

from __future__ import annotations

from prefect import task
from prefect.cache_policies import NO_CACHE
from pydantic import BaseModel, TypeAdapter

from lstm_model.contracts.artifact import Artifact
from lstm_model.contracts.score_records import FoldRecord
from lstm_model.contracts.settings import PipelineConfig, Plan
from lstm_model.contracts.stage_meta import BacktestMeta
from lstm_model.evaluation.backtest import Folds, TrainingSpan, make_fold_spec
from lstm_model.lifecycle.retention import remember
from lstm_model.lifecycle.stage_outputs import ENVELOPE, read_profile
from lstm_model.storage.store import Store
from tasks.actions.publish import stage_table
from tasks.runtime.prefect_ui import show_markdown
from tasks.runtime.records import StageRecord
from tasks.runtime.resume import drop
from tasks.stages.backtest import FOLDS


class BacktestOutcome(BaseModel):
    """What a backtest gives back; `summary` is what the command line prints."""

    name: str
    verdict: str
    folds: list[FoldRecord]
    """Oldest last."""
    report: str
    envelope: str | None
    """What the monitor compares errors with from now on; None without refit."""
    stages: list[StageRecord]

    def summary(self) -> str:
        """The verdict and a line a fold."""
        lines = ["", self.verdict, "", f"{'first cutoff':<22}{'LSTM':>8}{'seasonal naive':>18}  (MASE)"]
        lines += [f"{f.cutoff:<22}{f.lstm:>8.3f}{f.seasonal_naive:>18.3f}" for f in self.folds[::-1]]
        lines += ["", f"report    {self.report}", *([f"envelope  {self.envelope}"] if self.envelope else [])]
        return "\n".join(lines)


@task(name="plan folds", task_run_name="plan {number} folds", cache_policy=NO_CACHE)
def plan_folds(plan: Plan, series: Artifact, number: int, refit: bool, training: TrainingSpan, store: Store) -> Folds:
    """The settings of every fold.

    Raises:
        ValueError: the history is too short for so many; the message says how many fit.
    """
    length = read_profile(series, store).length_median
    window = make_fold_spec(plan.window, length=length, folds=number, training=training)
    return Folds(number=number, refit=refit, training=training, plan=plan.model_copy(update={"window": window}))


@task(name="publish backtest", task_run_name="publish backtest", cache_policy=NO_CACHE)
def publish_backtest(
    config: PipelineConfig, folds: Folds, page: Artifact, records: list[StageRecord], store: Store
) -> BacktestOutcome:
    """Put backtest.html at the top of the store and the report into the UI; with refit, the envelope too."""
    folder, report = store.path(page), "backtest.html"
    store.backend.write(report, (folder / report).read_bytes())
    if folds.refit:
        store.backend.write(ENVELOPE, (folder / ENVELOPE).read_bytes())
    verdict = store.read_meta(page, BacktestMeta).verdict
    markdown = (folder / "backtest.md").read_text(encoding="utf-8")
    show_markdown("backtest", config.name, f"{markdown}\n\n{stage_table(records)}", description=verdict)
    remember(store, [record.artifact for record in records], flow="backtest")
    drop(store)
    return BacktestOutcome(
        name=config.name,
        verdict=verdict,
        folds=TypeAdapter(list[FoldRecord]).validate_json((folder / FOLDS).read_bytes()),
        report=store.backend.shown(report),
        envelope=store.backend.shown(ENVELOPE) if folds.refit else None,
        stages=records,
    )
