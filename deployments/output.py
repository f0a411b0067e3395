"""Keep Prefect's many lines about a server that is away out of the output of `serve`."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

STREAMS = (1, 2)
"""File descriptors of standard output and standard error."""


class Output:
    """The output of this process; while it is diverted, only what is said here is seen there."""

    def __init__(self, log: Path) -> None:
        self.log = log
        """What is diverted is added to this file."""
        self._kept = [os.dup(stream) for stream in STREAMS]

    def say(self, line: str) -> None:
        """Write a line that an operator must see."""
        sys.stdout.flush()
        os.write(self._kept[0], f"{line}\n".encode())

    @contextmanager
    def divert(self) -> Iterator[None]:
        """While inside, whatever this process or its runs write goes to the file; nowhere else if it can be written."""
        with suppress(OSError):  # a disk that is full must not end what is served; its lines are then seen
            log = os.open(self.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            self._point([log, log])
            os.close(log)
        try:
            yield
        finally:
            self._point(self._kept)

    def _point(self, targets: list[int]) -> None:
        sys.stdout.flush()
        sys.stderr.flush()
        for stream, target in zip(STREAMS, targets, strict=True):
            os.dup2(target, stream)
