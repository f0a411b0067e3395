"""Show the progress of a training: a bar on a terminal, a progress artifact in the UI, some log lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from uuid import UUID

from prefect.artifacts import create_progress_artifact, update_progress_artifact
from prefect.logging import get_run_logger
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from lstm_model.training.progress import Progress

LOG_SECONDS = 15
UI_SECONDS = 2


@contextmanager
def shown_progress(what: str) -> Iterator[Callable[[Progress], None]]:
    """Yields the callback that `fit` reports to."""
    artifact = create_progress_artifact(progress=0.0, description=what)
    assert isinstance(artifact, UUID)
    with _bar(what) as draw:
        yield _Rated(artifact, draw)
    update_progress_artifact(artifact, progress=100.0)


class _Rated:
    """Draws every report, and tells the server and the log only now and then."""

    def __init__(self, artifact: UUID, draw: Callable[[Progress], None] | None) -> None:
        self._artifact, self._draw, self._logger = artifact, draw, get_run_logger()
        self._next_ui = self._next_log = time.monotonic()

    def __call__(self, progress: Progress) -> None:
        now = time.monotonic()
        if self._draw is not None:
            self._draw(progress)
        if now >= self._next_ui:
            self._next_ui = now + UI_SECONDS
            update_progress_artifact(self._artifact, progress=100.0 * progress.step / progress.max_steps)
        if self._draw is None and (now >= self._next_log or progress.step == progress.max_steps):
            self._next_log = now + LOG_SECONDS
            self._logger.info("%s", in_words(progress))


def in_words(progress: Progress) -> str:
    """One line: stage, step, losses."""
    validation = "" if progress.validation_loss is None else f", validation loss {progress.validation_loss:.4f}"
    return f"{progress.stage} step {progress.step}/{progress.max_steps}: loss {progress.train_loss:.4f}{validation}"


@contextmanager
def _bar(what: str) -> Iterator[Callable[[Progress], None] | None]:
    """A bar that vanishes when done, on a terminal; None elsewhere."""
    if not sys.stderr.isatty():
        yield None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Bar(*columns, transient=True) as bar:
        row = bar.add_task(what, total=None)

        def draw(progress: Progress) -> None:
            bar.update(row, description=in_words(progress), completed=progress.step, total=progress.max_steps)

        yield draw
