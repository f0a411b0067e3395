"""Write files and folders under temporary names, rename them once whole, and sweep what killed writers left."""

from __future__ import annotations

import errno
import os
import platform
import re
import shutil
import stat
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path

from filelock import FileLock, Timeout

HOST = re.sub("[^A-Za-z0-9]", "_", platform.node())
"""In the names of drafts: only the machine that wrote one can tell whether its writer lives."""


@contextmanager
def write_draft(path: Path) -> Iterator[Path]:
    """Give a file beside `path` to write, which replaces it at the end: readers see the old content or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{HOST}-{os.getpid()}-{uuid.uuid4().hex[:8]}")
    try:
        yield draft
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


def write_atomically(path: Path, content: str | bytes, *, durable: bool = False) -> None:
    """Write so that readers see the old content or the new one; `durable`: after a power cut too."""
    with write_draft(path) as draft:
        draft.write_bytes(content.encode() if isinstance(content, str) else content)
        if durable:
            flush(draft)
    if durable:
        flush(path.parent)


def read_bounded(path: Path, most_bytes: int) -> bytes:
    """Read a file that somebody else may have put there: what is longer, or no file, must not hang or fill the memory.

    Raises:
        FileNotFoundError: there is nothing.
        ValueError: it is longer, or no regular file.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))  # a pipe would wait for its writer
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENXIO, errno.EISDIR):
            raise ValueError(f"{path} is not a regular file") from None
        raise
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise ValueError(f"{path} is not a regular file")
    with os.fdopen(descriptor, "rb") as file:
        content = file.read(most_bytes + 1)
    if len(content) > most_bytes:
        raise ValueError(f"{path} has more than {most_bytes} bytes")
    return content


def flush(path: Path) -> None:
    """Wait until the disk holds a file's bytes, or a folder's names."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def make_scratch(root: Path, what: str) -> Iterator[Path]:
    """Make a folder on a store's disk that goes at the end, or in a later `sweep` if this process is killed."""
    folder = root / "tmp" / f"{what}-{HOST}-{os.getpid()}-{uuid.uuid4().hex}"
    folder.mkdir(parents=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def sweep(root: Path) -> None:
    """Remove what writers of this machine that were killed left behind; what a living process is writing stays."""
    for folder in (root / "tmp").glob(f"*-{HOST}-*-*"):
        if not is_alive(int(folder.name.split("-")[-2])):
            shutil.rmtree(folder, ignore_errors=True)
    for draft in root.glob(f".*.{HOST}-*-*"):
        if not is_alive(int(draft.name.split("-")[-2])):
            draft.unlink(missing_ok=True)


@contextmanager
def hold_lock(root: Path, name: str, *, on_wait: Callable[[], None] | None = None) -> Iterator[None]:
    """Hold a lock across processes; the operating system frees it when its holder dies.

    `on_wait` is called once if another process holds it.
    """
    folder = root / "locks"
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / f"{sha256(name.encode()).hexdigest()[:32]}.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        if on_wait is not None:
            on_wait()
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def is_alive(pid: int) -> bool:
    """Tell whether a process of this machine runs."""
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True
