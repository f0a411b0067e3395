"""Put the facts of a run into words, name by name, for its report: the data, the training, the folds of a backtest."""

from __future__ import annotations

from lstm_model.contracts.artifact import VERSION_DIGITS, Artifact, version_of
from lstm_model.contracts.clock import Clock, show_moment
from lstm_model.contracts.envelope import Envelope
from lstm_model.contracts.profile import Profile
from lstm_model.contracts.settings import Source
from lstm_model.contracts.stage_meta import ModelMeta
from lstm_model.contracts.windows_meta import SPLITS, WindowsMeta
from lstm_model.evaluation.backtest import Folds

Facts = list[tuple[str, str]]
"""Names and values."""


def describe_bundle(bundle: Artifact, series: Artifact, source: Source, *, code: str) -> Facts:
    """Return what a report is of: the bundle, the data as they were read, and the code that trained it."""
    place = source.path or source.url or f"{source.kind} {source.dataset}"
    return [
        ("bundle", version_of(bundle)),
        ("data", f"{place}; as read {series.sha256[:VERSION_DIGITS]}, {series.num_rows:,} rows"),
        ("code", code),
    ]


def describe_data(profile: Profile, cut: WindowsMeta, clock: Clock | None = None) -> Facts:
    """Return what the data are and how they were split, in the source's own clock."""
    own = " at the latest: each series by its own end" if cut.align == "end" else ""
    return [
        ("series", f"{profile.num_series:,}"),
        ("observed values", f"{profile.num_observed:,}"),
        ("values a series", f"{profile.length_min:,} to {profile.length_max:,}"),
        ("from", show_moment(profile.start, clock)),
        ("to", show_moment(profile.end, clock)),
        *([("clock", f"{clock.zone}, in which all times are shown")] if clock else []),
        ("frequency", profile.frequency),
        *(
            (name, f"targets up to {show_moment(cut.cutoffs[split], clock)}{own}: {cut.windows[split]:,} windows")
            for name, split in zip(("trained on", "validated on", "tested on"), SPLITS, strict=True)
        ),
    ]


def describe_training(trained: ModelMeta, *, num_windows: int) -> Facts:
    """Return how the model was trained."""
    return [
        ("device", f"{trained.device}, {trained.precision}"),
        ("training windows", f"{num_windows:,}"),
        ("steps taken", f"{trained.best_step:,}"),
        ("remarks", "; ".join(trained.notes)),
    ]


def describe_folds(folds: Folds, usual: Envelope) -> Facts:
    """Return how a backtest was made, and how much its errors vary."""
    spec = folds.plan.window
    span = f"{spec.train_steps:,} steps before each cutoff" if spec.train_steps else "all of the past of each fold"
    return [
        ("folds", f"{folds.number}, each {spec.test_steps} steps earlier than the one before"),
        ("trained on", span),
        ("models", "one for each fold" if folds.refit else "one, of the oldest fold, forecasts all of them"),
        ("periods", f"{usual.num_periods} of {usual.period_steps} steps"),
        (
            "spread of the error",
            "not known" if usual.spread is None else f"{usual.spread:.0%} from one period to another",
        ),
    ]
