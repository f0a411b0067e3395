"""Write files and folders under temporary names, rename them once whole, and sweep what killed writers left."""

from __future__ import annotations

import errno
import os
import platform
import re
import shutil
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path

from filelock import FileLock, Timeout

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
HOST = re.sub("[^A-Za-z0-9]", "_", platform.node())
"""In the names of drafts: only the machine that wrote one can tell whether its writer lives."""


@contextmanager
def write_draft(path: Path) -> Iterator[Path]:
    """Give a file beside `path` to write, which replaces it at the end: readers see the old content or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{HOST}-{os.getpid()}-{uuid.uuid4().hex[:8]}")
    try:
        with name_full_disk(path):
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


def flush(path: Path) -> None:
    """Wait until the disk holds a file's bytes, or a folder's names."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def name_full_disk(path: Path) -> Iterator[None]:
    """Name the path in an error of a full disk: Arrow, safetensors and the system itself leave it out.

    Raises:
        OSError: the disk, its quota or the largest size of a file is reached.
    """
    try:
        yield
    except Exception as error:  # safetensors has an error of its own
        full = next((code for code in FULL if getattr(error, "errno", 0) == code or os.strerror(code) in str(error)), 0)
        if full and "make room" not in str(error):
            raise OSError(full, f"cannot write {path}: {os.strerror(full)}; make room and run again") from error
        raise


@contextmanager
def make_scratch(root: Path, what: str) -> Iterator[Path]:
    """Make a folder on a store's disk that goes at the end, or in a later `sweep` if this process is killed."""
    folder = root / "tmp" / f"{what}-{HOST}-{os.getpid()}-{uuid.uuid4().hex}"
    try:
        with name_full_disk(folder):
            folder.mkdir(parents=True)
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
