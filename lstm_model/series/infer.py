"""Infer the settings that the user left open: every rule is here, each with its reason.

The evidence for the numbers is in `docs/decisions.md`.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from typing import Any

from lstm_model.contracts.clock import Clock
from lstm_model.contracts.profile import Profile
from lstm_model.contracts.settings import (
    MIN_CONTEXT,
    FileLayout,
    ModelChoices,
    ModelSpec,
    PipelineConfig,
    Plan,
    Source,
    TrainingChoices,
    TrainingSpec,
    WindowSpec,
)
from lstm_model.series.calendar_columns import choose_calendar
from lstm_model.timeline.frequency import RETAIL, Frequency

HORIZONS = {"min": 60, "h": 24, "D": 14, "B": 10, "W": 8, "M": 12, "Q": 4, "Y": 4}
"""One useful planning span for each frequency, when the user names none."""
LONGEST_DAY = 96
"""Steps of a day that one plans a day of: quarters of an hour and longer."""
CONTEXT_SEASONS = {"min": 7, "h": 14, "D": 8, "B": 12, "W": 2, "M": 6, "Q": 8}
"""Seasons in a context: two weeks of hours show the week; six years of months show a trend."""
CONTEXT_HORIZONS = 4
"""Horizons in a context without a season."""
LONGEST_CONTEXT = 1500
UNIT_OF_SEASON = {24: "h", 7: "D", 5: "B", 52: "W", 12: "M", 4: "Q"}
"""The probable unit of steps without a calendar, by the cycle found in them."""
UNITS = {"WOM": "M", "LWOM": "M"} | {f"{b}{u}{edge}": u for b in ("", "B") for u in "MQY" for edge in "SE"}
"""Units of the aliases of months, quarters and years."""
CYCLICAL = ("min", "h", "D")
"""Units whose series go in cycles about a level, which a context's mean and deviation describe; others trend."""
LONGEST_SEGMENT = 48
"""Most steps that the LSTM reads at once."""
STEP_BY_STEP = 100
"""Longest context without two seasons that it reads a step at a time."""
POSITIVE = 1e-3
"""Least value, as a share of its series' median, from which logarithms do not blow up values near zero."""
FEW_SERIES = 50
"""Most series that one linear map of the context suits."""
LONG_HISTORY = 8
"""Windows without overlap in the history of a slow series that suffice to learn a linear map from."""
MANY_VALUES = 50_000
"""Observed values from which a wider network pays."""
RICH_WINDOWS = 500
"""Windows without overlap from which a higher rate pays, or a larger batch."""
EVALUATED_POINTS = 2_000_000
"""Most forecast points that a test scores, if the stride is inferred."""
NOT_IN_TUTORIAL = "the tutorial's network has none"


@dataclass
class Choices:
    """Values chosen so far, and why."""

    reasons: list[tuple[str, str, str]] = field(default_factory=list)

    def pick(self, name: str, given: Any, inferred: Any, reason: str) -> Any:
        """Return the user's own value if there is one, else the inferred one; record the reason of either."""
        value, why = (inferred, reason) if given is None else (given, "set in the config")
        self.reasons.append((name, str(value), why))
        return value


def infer_plan(
    config: PipelineConfig, profile: Profile, *, clock: Clock | None = None
) -> tuple[PipelineConfig, Plan, list[tuple[str, str, str]]]:
    """Choose every setting that the config leaves open.

    Args:
        config: what the user set.
        profile: the facts about the series.
        clock: the source's own, if the series are in UTC instead.

    Returns:
        The config with nothing left open, the specs that the stages take, and (setting, value, reason) for each choice.

    Raises:
        ValueError: the user's settings do not fit the length of the series.
    """
    choices = Choices()
    window = _resolve_calendar(config, _resolve_window(config, profile, choices), profile, clock, choices)
    model = _resolve_model(config, window, profile, choices)
    training = _resolve_training(config, window, model, profile, choices)
    plan = Plan(window=window, model=model, training=training)
    return _fill_config(config, plan), plan, choices.reasons


def explain_source(source: Source, reasons: dict[str, str]) -> list[tuple[str, str, str]]:
    """Say how the source was read: (setting, value, reason), the value "" for remarks that belong to no setting."""
    values = {**source.model_dump(mode="json"), **{f"columns.{k}": v for k, v in source.columns.model_dump().items()}}
    return [(name, str(values.get(name) or ""), reason) for name, reason in reasons.items() if name != "frequency"]


def _resolve_window(config: PipelineConfig, profile: Profile, choices: Choices) -> WindowSpec:
    settings = config.advanced.window
    frequency = choices.pick("frequency", config.frequency, profile.frequency, "the commonest step between timestamps")
    season = _infer_season(config, profile, choices)
    unit = _find_unit(profile.frequency, season)
    horizon = choices.pick("horizon", config.horizon, *_infer_horizon(unit, season, profile))
    test, validation = _split_steps(config, profile, horizon, choices)
    held_out = test + validation
    reach = profile.length_max if settings.pad_short else profile.length_median
    context = choices.pick("context", config.context, *_infer_context(unit, season, horizon, reach - held_out))
    trained = profile.length_median - held_out
    least = min(max(2 * season, horizon), context, trained // 2, trained - horizon)
    windows = max(1, test - horizon + 1)
    stride = min(horizon, max(1, math.ceil(windows * horizon * profile.num_series / EVALUATED_POINTS)))
    return WindowSpec(
        context=context,
        horizon=horizon,
        season=season,
        frequency=frequency,
        stride=settings.stride,
        evaluation_stride=choices.pick(
            "evaluation_stride",
            settings.evaluation_stride,
            stride,
            "every window" if stride == 1 else f"keeps the scored points near {EVALUATED_POINTS:,}",
        ),
        test_steps=test,
        validation_steps=validation,
        align=choices.pick("align", settings.align, *_infer_align(config, profile, test)),
        pad_short=settings.pad_short,
        min_context=choices.pick(
            "min_context", settings.min_context, max(MIN_CONTEXT, least), "two seasons or a horizon, to learn from"
        ),
    )


def _resolve_calendar(
    config: PipelineConfig, window: WindowSpec, profile: Profile, clock: Clock | None, choices: Choices
) -> WindowSpec:
    """Add the calendar that the model reads, if the config asks for one."""
    settings = config.calendar
    if (settings.use or ("auto" if settings.is_given else "none")) == "none":
        return window
    length, end = profile.length_median, profile.end
    found, why = choose_calendar(config, window, length=length, end=end, clock=clock)
    choices.reasons.append(("calendar", ", ".join([*found.groups, *found.days]) if found else "none", why))
    return window.model_copy(update={"calendar": found})


def _infer_season(config: PipelineConfig, profile: Profile, choices: Choices) -> int:
    usual = Frequency(profile.frequency).default_season
    if Frequency(profile.frequency).is_integer and profile.found_season:
        season, reason = profile.found_season, "the highest autocorrelation"
    else:
        season, reason = usual, "usual for this frequency" if usual > 1 else "no cycle is usual for this frequency"
    chosen: int = choices.pick("season", config.season, season, reason)
    return chosen


def _split_steps(config: PipelineConfig, profile: Profile, horizon: int, choices: Choices) -> tuple[int, int]:
    """Choose test and validation spans: short histories give up validation first, then the test."""
    settings, history = config.advanced.window, profile.length_median
    span = max(horizon, min(8 * horizon, history // 10))
    test, why_test = span, "max(1 horizon, min(8 horizons, a tenth of the history))"
    if history - span < horizon + 2:
        test, why_test = 0, f"a history of {history} is too short to keep a test of {horizon}"
    test = choices.pick("test_steps", settings.test_steps, test, why_test)
    validation, why = test, "as long as the test"
    if test == 0 or history - test - validation < max(2 * horizon, horizon + 2):
        validation, why = 0, f"a history of {history} leaves too little to train on"
    validation = choices.pick("validation_steps", settings.validation_steps, validation, why)
    if history - test - validation < horizon + 2:
        raise ValueError(
            f"half of the series have {history} values or fewer, but a test of {test} and a validation of {validation} "
            f"leave less than horizon + 2 = {horizon + 2} to train on. Lower horizon ({horizon}), test_steps or "
            "validation_steps, or bring a longer history"
        )
    return test, validation


def _infer_context(unit: str, season: int, horizon: int, train_steps: int) -> tuple[int, str]:
    """Choose the context; one longer than most histories does no harm, since short ones are padded."""
    seasons = min(CONTEXT_SEASONS.get(unit, 4), max(1, LONGEST_CONTEXT // season))
    wish, reason = seasons * season, f"{seasons} seasons"
    if season == 1:
        wish, reason = CONTEXT_HORIZONS * horizon, f"{CONTEXT_HORIZONS} horizons"
    elif wish < horizon:
        wish, reason = horizon, "as long as the horizon"
    most = max(season, train_steps - horizon, 2)
    if wish <= most:
        return wish, reason
    return most, f"all of a training history of {train_steps} but a horizon"


def _resolve_model(config: PipelineConfig, window: WindowSpec, profile: Profile, choices: Choices) -> ModelSpec:
    settings = config.advanced.model
    cyclical = _find_unit(window.frequency, window.season) in CYCLICAL
    segment, values = _infer_segment(window), profile.num_observed
    wide = cyclical and values > MANY_VALUES
    return ModelSpec(
        **settings.model_dump(include=set(ModelChoices.model_fields)),
        hidden_dim=choices.pick("hidden_dim", settings.hidden_dim, 128 if wide else 64, f"{values:,} observed values"),
        layer_dim=choices.pick("layer_dim", settings.layer_dim, 2 if segment > 1 else 1, f"segments of {segment}"),
        segment=choices.pick(
            "segment",
            settings.segment,
            segment,
            f"the LSTM reads {-(-window.context // segment)} steps instead of {window.context}"
            if segment > 1
            else "the context is short enough to read step by step",
        ),
        normalisation=choices.pick(
            "normalisation",
            settings.normalisation,
            "mean_std" if cyclical else "last",
            "each window by its own mean and deviation" if cyclical else "such series trend: by their last value",
        ),
        transform=choices.pick("transform", settings.transform, *_infer_transform(config, profile)),
        linear_skip=choices.pick(
            "linear_skip", settings.linear_skip, *_infer_linear_skip(config, cyclical, window, profile)
        ),
    )


def _infer_segment(window: WindowSpec) -> int:
    """Choose a season, or a part of a long one, if the context holds two seasons or is long; else 1."""
    season = window.season
    if season < 4 or window.context < min(2 * season, STEP_BY_STEP):
        return 1
    return max(steps for steps in range(1, LONGEST_SEGMENT + 1) if season % steps == 0)


def _infer_linear_skip(
    config: PipelineConfig, cyclical: bool, window: WindowSpec, profile: Profile
) -> tuple[bool, str]:
    if config.advanced.model.kind == "tutorial":
        return False, NOT_IN_TUTORIAL
    if not cyclical and profile.length_median < LONG_HISTORY * (window.context + window.horizon):
        return False, f"a history of {profile.length_median} is too short to learn one of {window.context} steps"
    few = profile.num_series <= FEW_SERIES
    return few, f"{profile.num_series} series {'can' if few else 'hardly'} share one"


def _infer_transform(config: PipelineConfig, profile: Profile) -> tuple[str, str]:
    if config.advanced.model.kind == "tutorial":
        return "none", NOT_IN_TUTORIAL
    if profile.lowest >= POSITIVE:
        return "log", "all values are positive: their changes are relative"
    return "none", "values are not all positive, or nearly zero"


def _resolve_training(
    config: PipelineConfig, window: WindowSpec, model: ModelSpec, profile: Profile, choices: Choices
) -> TrainingSpec:
    """Choose the training loop by `distinct`, the number of windows that do not overlap."""
    settings = config.advanced.training
    distinct = profile.num_observed // (window.context + window.horizon)
    cyclical, rich = _find_unit(window.frequency, window.season) in CYCLICAL, distinct > RICH_WINDOWS
    steps, rate, why = 1000, 1e-3, f"{distinct:,} windows that do not overlap"
    if not cyclical:
        steps, rate, why = 300, 1e-3, "slow series: most of what they will do is noise"
    elif rich:
        steps, rate = 1200, 3e-3
    return TrainingSpec(
        **settings.model_dump(include=set(TrainingChoices.model_fields)),
        max_steps=choices.pick("max_steps", settings.max_steps, steps, why),
        batch_size=choices.pick("batch_size", settings.batch_size, *_infer_batch_size(cyclical, rich)),
        learning_rate=choices.pick("learning_rate", settings.learning_rate, rate, f"peak of one cycle; {why}"),
    )


def _infer_batch_size(cyclical: bool, rich: bool) -> tuple[int, str]:
    if rich and not cyclical:
        return 256, "the noise of many slow series is averaged out"
    return 64, "enough for a steady gradient"


def _fill_config(config: PipelineConfig, plan: Plan) -> PipelineConfig:
    """Return the config with every open field set to its choice, to be written as a complete YAML."""
    sections = {"window": plan.window, "model": plan.model, "training": plan.training}
    advanced = {
        name: getattr(config.advanced, name).model_copy(
            update={
                k: v for k, v in spec.model_dump().items() if k in type(getattr(config.advanced, name)).model_fields
            }
        )
        for name, spec in sections.items()
    }
    top = {name: getattr(plan.window, name) for name in ("horizon", "frequency", "season", "context")}
    return config.model_copy(update={**top, "advanced": config.advanced.model_copy(update=advanced)})


def _find_unit(frequency: str, season: int) -> str:
    """Return the calendar unit of an alias: M for ME and MS, h for 2h."""
    if Frequency(frequency).is_integer:
        return UNIT_OF_SEASON.get(season, "")
    if RETAIL.fullmatch(frequency):
        return "M"
    base = Frequency(frequency).base
    if re.fullmatch(r"\d+D", base) and int(base[:-1]) % 7 == 0:
        return "W"
    letters = base.lstrip("0123456789").split("-")[0]
    return UNITS.get(letters, letters)


def _infer_horizon(unit: str, season: int, profile: Profile) -> tuple[int, str]:
    if unit == "min" and 1 < (day := Frequency(profile.frequency).default_season) <= LONGEST_DAY:
        usual = day
    else:
        usual = HORIZONS.get(unit, max(season, 10) if season <= 60 else 60)
    most = max(1, (profile.length_median - 2) // 3)
    if usual <= most:
        return usual, f"a usual planning span for {profile.frequency}"
    return most, f"a third of a history of {profile.length_median}"


def _infer_align(config: PipelineConfig, profile: Profile, test_steps: int) -> tuple[str, str]:
    """Choose one cutoff for all series, or each series' own end if they share no calendar."""
    if (
        Frequency(profile.frequency).is_integer
        and config.source.layout is FileLayout.wide_rows
        and profile.length_min < profile.length_max
    ):
        return "end", "rows of numbered steps share no calendar"
    if profile.median_lag > test_steps // 2:
        return "end", f"half of the series end {profile.median_lag} steps or more before the panel does"
    return "calendar", "one cutoff for all series"
