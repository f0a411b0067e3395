"""Load the windows of a training into memory, or stream them from disk where they need more than they may take."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from lstm_model.compute.device import measure_machine_bytes
from lstm_model.compute.process_group import ALONE, World
from lstm_model.contracts.settings import TrainingSpec, WindowSpec
from lstm_model.training.sampling import spread_evenly
from lstm_model.training.validation import CALIBRATION_WINDOWS
from lstm_model.windows.in_memory import Windows, load_refit_validation, load_windows
from lstm_model.windows.stream import StreamedWindows, estimate_bytes, open_stream

MACHINE_SHARE = 0.5
"""Share of the machine's memory that windows may take if `memory_mib` is not set."""


@dataclass(frozen=True)
class TrainingData:
    """The windows of one training."""

    train: Windows | StreamedWindows
    validation: Windows
    newest: Windows | StreamedWindows | None
    """What a refit trains on beside `train`; None: the validation."""
    covers: tuple[Windows, Windows]
    """What tells which targets the search and the refit see: not more than the ends of the series where streamed."""
    notes: list[str] = field(default_factory=list)


def compute_memory_limit(training: TrainingSpec) -> int:
    """Return the bytes that the windows of all processes may take together."""
    return training.memory_mib * 2**20 if training.memory_mib else int(MACHINE_SHARE * measure_machine_bytes())


def load_training(
    folders: Sequence[Path], spec: WindowSpec, training: TrainingSpec, *, world: World = ALONE
) -> TrainingData:
    """Load the windows of a training, or open them to be streamed.

    Args:
        folders: of windows datasets that differ in their series alone.
        spec: how they were cut.
        training: `memory_mib` and `workers` decide whether they are streamed.
        world: of which processes this is one.

    Raises:
        StreamError: they can be neither held nor streamed within `memory_mib`.
    """
    limit = compute_memory_limit(training)
    needed = estimate_bytes(folders, "train", stride=spec.stride)
    needed += estimate_bytes(folders, "validation", stride=min(spec.stride, spec.evaluation_stride))
    # Each process, and the one that waits for several, joins train and validation for the refit beside what it has.
    copies = (training.workers + (training.workers > 1)) * (1 + training.refit)
    if needed * copies <= limit:
        return _load_windows(folders, spec, training)
    data = _stream_windows(folders, spec, training, limit // training.workers, world)
    data.notes.append(
        f"streamed from disk: in memory the windows would need up to {needed * copies // 2**20:,} MiB in all "
        f"({copies} copies), training.memory_mib allows {limit // 2**20:,}"
    )
    return data


def _load_windows(folders: Sequence[Path], spec: WindowSpec, training: TrainingSpec) -> TrainingData:
    train, validation = load_windows(folders, "train"), load_windows(folders, "validation")
    newest = load_refit_validation(folders, spec) if training.refit else None
    return TrainingData(train, validation, newest, (train, newest or validation))


def _stream_windows(
    folders: Sequence[Path], spec: WindowSpec, training: TrainingSpec, limit: int, world: World
) -> TrainingData:
    train = open_stream(folders, "train", limit=limit, world=world)
    judged = open_stream(folders, "validation", limit=limit)
    validation = judged.take(spread_evenly(len(judged), CALIBRATION_WINDOWS))
    if not training.refit:
        return TrainingData(train, validation, None, (train.outline, judged.outline))
    newest = open_stream(folders, "validation", limit=limit, stride=spec.stride, world=world)
    return TrainingData(train, validation, newest, (train.outline, newest.outline))
